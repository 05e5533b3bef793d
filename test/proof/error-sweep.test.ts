import { expect, it } from 'vitest'
import { sweepErrors } from '../sweep/sweep.js'
import { DEPTH } from './depth.js'

const ERRORS =
  DEPTH > 1 ? ['EIO', 'ENOSPC', 'EDQUOT', 'EMFILE', 'EACCES', 'EROFS'] : ['EIO', 'ENOSPC', 'EMFILE', 'EACCES']

it(`an error at every operation: ${ERRORS.join(', ')}`, { timeout: 36_000_000 }, async () => {
  const { line, runs, fired } = await sweepErrors(ERRORS)
  console.log(line)
  expect(fired).toBeGreaterThanOrEqual(runs)
})
