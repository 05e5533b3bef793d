import { defineConfig } from 'vitest/config'

// Run by test/services/run.js, which finds the servers and ends them.
export default defineConfig({
  test: {
    include: ['test/services/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 90_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
  },
})
