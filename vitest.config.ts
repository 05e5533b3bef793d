import { defineConfig } from 'vitest/config'
import { compiledSources } from './test/compiled.js'
import { LongestFirst } from './test/longest-first.js'

export default defineConfig({
  plugins: [compiledSources()],
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/proof/**', 'test/services/**'],
    pool: 'forks',
    sequence: { sequencer: LongestFirst },
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    teardownTimeout: 10_000,
  },
})
