import { expect, it } from 'vitest'
import { SEED } from '../proof/depth.js'
import { sweepErrors } from './sweep.js'

const STRIDE = 23

it(
  'an error at some of the operations is typed, stops writes and loses nothing',
  { timeout: 120_000 },
  async () => {
    const { line, runs, fired } = await sweepErrors(['EIO', 'ENOSPC', 'EACCES'], STRIDE, SEED % STRIDE)
    console.log(line)
    expect(fired).toBeGreaterThanOrEqual(runs)
  },
)
