import { spawnSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, expect, it } from 'vitest'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'varve-key-file-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

function varve(args: readonly string[], input: string | Buffer = '') {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { input, timeout: 20_000 })
  return { status, stdout: stdout.toString('utf8'), stderr: stderr.toString('utf8') }
}

function keyFile(name: string, contents: string | Buffer, mode = 0o600): string {
  const path = join(root, name)
  writeFileSync(path, contents)
  chmodSync(path, mode)
  return path
}

const HEX = '0b4c5e6f'.repeat(8)
const key = keyFile('key', `${HEX}\n`)
const store = join(root, 'store')

it('--key-file opens, dumps, loads, tails and inspects an encrypted store, by digits or bytes', () => {
  const raw = keyFile('raw', Buffer.from(HEX, 'hex'))
  const lines = ['a', 'b'].map((text) => JSON.stringify({ key: btoa(`hush-${text}`), value: btoa('hush') }))
  expect(varve(['load', store, '--key-file', key], lines.join('\n')).status).toBe(0)
  for (const name of readdirSync(store)) expect(readFileSync(join(store, name)).includes('hush')).toBe(false)
  expect(varve(['dump', store, '--key-file', raw]).stdout.trim().split('\n')).toEqual(lines)
  expect(varve(['tail', store, '--key-file', key]).stdout).toContain('hush-b')
  expect(varve(['manifest', store, '--key-file', key]).stdout).toContain('flushedPosition')
})

it('refuses a key that others can read, or that is none, and never shows one', () => {
  const open = keyFile('open', HEX, 0o644)
  const outcomes = [
    [varve(['get', store, 'a', '--key-file', open]), 2, 'chmod 600'],
    [varve(['get', store, 'a', '--key-file', keyFile('short', HEX.slice(2))]), 2, 'neither 32 bytes nor'],
    [varve(['get', store, 'a', '--key-file', keyFile('other', 'ff'.repeat(32))]), 1, 'VARVE_KEY'],
    [varve(['get', store, 'a']), 1, 'VARVE_KEY'],
  ] as const
  for (const [{ status, stdout, stderr }, expected, message] of outcomes) {
    expect([status, stdout]).toEqual([expected, ''])
    expect(stderr).toContain(message)
    expect(stderr).not.toMatch(/0b4c5e6f|ffffff/)
  }
})
