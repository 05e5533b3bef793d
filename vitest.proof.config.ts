import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/proof/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 600_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
  },
})
