import { describe, expect, it } from 'vitest'
import { SEED } from '../proof/depth.js'
import { type Call, isLinearizable } from './linearizability.js'
import { runClients } from './run-clients.js'

const call = (kind: Call['kind'], from: number, to: number, value?: string, seen?: string): Call => ({
  client: 1,
  key: 'k',
  kind,
  value,
  seen,
  from,
  to,
})
const EVER = Number.POSITIVE_INFINITY

describe('the checker of histories', () => {
  it.each<[string, boolean, Call[]]>([
    ['a write and a later read of it', true, [call('put', 1, 2, 'x'), call('get', 3, 4, undefined, 'x')]],
    ['a read that misses an earlier write', false, [call('put', 1, 2, 'x'), call('get', 3, 4)]],
    ['a read beside a write that misses it', true, [call('put', 1, 4, 'x'), call('get', 2, 3)]],
    [
      'a value that is seen and then gone',
      false,
      [call('put', 1, 9, 'x'), call('get', 2, 3, undefined, 'x'), call('get', 4, 5)],
    ],
    [
      'an undecided write that is seen late',
      true,
      [call('put', 1, EVER, 'x'), call('get', 9, 10, undefined, 'x')],
    ],
    ['an undecided write that never is', true, [call('put', 1, EVER, 'x'), call('get', 9, 10)]],
    ['two replacements of one value', false, [call('replace', 1, 3, 'x'), call('replace', 2, 4, 'y')]],
    [
      'a deletion that comes back',
      false,
      [call('put', 1, 2, 'x'), call('del', 3, 4), call('get', 5, 6, undefined, 'x')],
    ],
  ])('%s: %s', (_, isRight, calls) => {
    expect(isLinearizable(calls)).toBe(isRight)
  })
})

it(
  'concurrent clients of a store that crashes see one order for each key, and whole batches',
  { timeout: 120_000 },
  async () => {
    console.log(await runClients(SEED, 10))
  },
)
