// Builds dist/ from nothing, so that no file of an earlier build is ever tested or shipped.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, rmSync } from 'node:fs'

rmSync('dist', { recursive: true, force: true })
const { status } = spawnSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', '.'], {
  stdio: 'inherit',
})
if (existsSync('dist/cli/main.js')) chmodSync('dist/cli/main.js', 0o755)
process.exit(status ?? 1)
