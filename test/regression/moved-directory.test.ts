import { existsSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { open } from '../../src/index.js'
import { temporaryDirectory } from '../env/temporary-directory.js'
import { codeOf, pad, TINY } from '../store/helpers.js'

describe('a directory that is moved while the store is open', () => {
  it('is not made anew: the store stops when it needs a new file, and what it had is where it went', async () => {
    const root = temporaryDirectory()
    const [before, after] = [join(root, 'before'), join(root, 'after')]
    const db = await open(before, { ...TINY, durability: 'os' })
    await db.put('first', '1')
    renameSync(before, after)
    let acknowledged = 0
    let code: string | undefined
    for (let i = 0; i < 200 && code === undefined; i++) {
      code = await codeOf(() => db.put(pad(i), 'x'.repeat(100)))
      if (code === undefined) acknowledged++
    }
    expect([code, existsSync(before)]).toEqual(['VARVE_IO', false])
    await codeOf(() => db.close())
    expect(existsSync(before)).toBe(false)
    const moved = await open(after, TINY)
    expect((await moved.keys().all()).length).toBeGreaterThanOrEqual(acknowledged + 1)
    await moved.verify()
    await moved.close()
  })

  /** Was: its next log file was put into the other store, which then refused to open as damaged. */
  it('is not confused with another one in its place: the store stops, and neither is damaged', async () => {
    const root = temporaryDirectory()
    const [before, after] = [join(root, 'before'), join(root, 'after')]
    const db = await open(before, { ...TINY, durability: 'os' })
    await db.put('first', '1')
    renameSync(before, after)
    await (await open(before, TINY)).close()
    let code: string | undefined
    for (let i = 0; i < 200 && code === undefined; i++)
      code = await codeOf(() => db.put(pad(i), 'x'.repeat(100)))
    expect(code).toBe('VARVE_IO')
    await codeOf(() => db.close())
    for (const [path, first] of [
      [before, undefined],
      [after, '1'],
    ] as const) {
      const store = await open(path, TINY)
      expect(await store.get('first')).toBe(first)
      await store.verify()
      await store.close()
    }
  })
})
