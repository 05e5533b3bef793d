import { defineConfig } from 'vitest/config'

// Tests that need real servers run by themselves: test/services/run.js.
const SERVICES = 'test/services/**/*.test.ts'
const areServicesThere = process.env['VARVE_SERVICES'] !== undefined

export default defineConfig({
  test: {
<<<<<<< HEAD
    include: ['test/**/*.test.ts'],
    exclude: ['test/proof/**'],
=======
    include: [areServicesThere ? SERVICES : 'test/**/*.test.ts'],
    exclude: areServicesThere ? [] : [SERVICES],
>>>>>>> 359a53d (PostgreSQL as a source: snapshot and stream by logical decoding, one batch for each transaction with its LSN; tests that need real servers run by themselves)
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    teardownTimeout: 10_000,
  },
})
