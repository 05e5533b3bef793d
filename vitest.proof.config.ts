import { defineConfig } from 'vitest/config'
import { compiledSources } from './test/compiled.js'
import { LongestFirst } from './test/longest-first.js'

export default defineConfig({
  plugins: [compiledSources()],
  test: {
    include: ['test/proof/**/*.test.ts'],
    pool: 'forks',
    sequence: { sequencer: LongestFirst },
    maxWorkers: 2,
    // Much garbage that lives briefly: with room it costs half.
    execArgv: ['--max-semi-space-size=64'],
    testTimeout: 600_000,
    hookTimeout: 60_000,
    teardownTimeout: 10_000,
  },
})
