import { expect, it } from 'vitest'
import { letGo } from '../../src/util/let-go.js'

it('leaves a large array empty, and one that is small or shared as it is', () => {
  const large = new Uint32Array(100_000)
  const view = large.subarray(0, 10)
  letGo(view)
  expect([large.length, view.length]).toEqual([0, 0])
  const small = Buffer.alloc(1000, 7)
  letGo(small)
  expect(small[999]).toBe(7)
  const shared = new Uint8Array(new SharedArrayBuffer(2 ** 20)).fill(7)
  letGo(shared)
  expect(shared[999]).toBe(7)
})
