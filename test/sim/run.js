// npm run sim -- --seed N [--ops K] [--seeds COUNT] [--only 1,5,9] [--reduce] [--encrypted | --plain]
import { spawnSync } from 'node:child_process'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    ops: { type: 'string', default: '500' },
    seeds: { type: 'string', default: '1' },
    only: { type: 'string', default: '' },
    reduce: { type: 'boolean', default: false },
    encrypted: { type: 'boolean', default: false },
    plain: { type: 'boolean', default: false },
  },
})
const environment = {
  VARVE_SIM_SEED: values.seed,
  VARVE_SIM_OPS: values.ops,
  VARVE_SIM_SEEDS: values.seeds,
  VARVE_SIM_ONLY: values.only,
  VARVE_SIM_REDUCE: values.reduce ? '1' : '',
  ...(values.encrypted ? { VARVE_ENCRYPTED: '1' } : values.plain ? { VARVE_ENCRYPTED: '0' } : {}),
}
const vitest = ['node_modules/vitest/vitest.mjs', 'run', '--config', 'vitest.proof.config.ts', 'replay-seed']
const { status } = spawnSync(process.execPath, vitest, {
  stdio: 'inherit',
  env: { ...process.env, ...environment },
})
process.exit(status ?? 1)
