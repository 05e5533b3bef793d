import { readFileSync, statSync } from 'node:fs'
import type { Command } from 'commander'
import type { Env } from '../env/env.js'
import type { EncryptionOptions } from '../store/contract.js'
import { UsageError } from './failure.js'

const KEY_BYTES = 32
const WITHOUT_STORE = new Set(['completion', 'demo', 'demo-log'])

/** Of the command that runs: there is one for each process. */
let encryption: EncryptionOptions | undefined

/** Gives every command that opens a store `--key-file`. A key itself is never an argument: other users see those. */
export function addKeyFileOption(program: Command): void {
  for (const command of program.commands) {
    if (WITHOUT_STORE.has(command.name())) continue
    command.option('--key-file <path>', 'the key of an encrypted store: 32 bytes, or 64 hexadecimal digits')
  }
  program.hook('preAction', (_, command) => {
    const { keyFile } = command.opts() as { keyFile?: string }
    if (keyFile !== undefined) encryption = { key: readKey(keyFile) }
  })
}

/** For `open` and whatever else takes options of a store. */
export function encryptionOptions(): { encryption?: EncryptionOptions } {
  return encryption ? { encryption } : {}
}

/** What reads a store's files by themselves. */
export async function envWithKey(): Promise<Env> {
  const { resolveEnv } = await import('../store/options.js')
  return resolveEnv(encryptionOptions())
}

function readKey(path: string): Buffer {
  let bytes: Buffer
  let mode: number
  try {
    bytes = readFileSync(path)
    mode = statSync(path).mode
  } catch (cause) {
    throw new UsageError(`cannot read ${path}: ${(cause as Error).message}`)
  }
  // Windows shows no modes.
  if ((mode & 0o077) !== 0 && process.platform !== 'win32')
    throw new UsageError(`${path} is open to other users: chmod 600 ${path}`)
  if (bytes.length === KEY_BYTES) return bytes
  const text = bytes.toString('latin1').trim()
  if (!/^[0-9a-f]{64}$/i.test(text))
    throw new UsageError(`${path} holds neither ${KEY_BYTES} bytes nor ${KEY_BYTES * 2} hexadecimal digits`)
  return Buffer.from(text, 'hex')
}
