import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { open } from '../../src/index.js'
import { temporaryDirectory } from '../env/temporary-directory.js'
import { runMain } from './in-process.js'

async function run(...args: string[]) {
  const { status, stdout, stderr } = await runMain(args)
  return { status, stdout, stderr }
}

it('backup, backups and restore go together, on a real disk', async () => {
  const directory = temporaryDirectory()
  const [store, backups, key] = ['store', 'backups', 'key'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ]
  writeFileSync(key, 'a secret of sixteen bytes\n')
  const write = async (from: number) => {
    const db = await open(store)
    for (let i = from; i < from + 100; i++) await db.put(`key ${i % 50}`, `${i}`)
    await db.close()
    return db.position
  }
  const options = ['--consumer', 'nightly', '--secret-file', key]
  const first = await write(0)
  expect((await run('backup', store, backups, ...options)).stdout).toMatch(
    /^backup 000001 is at position 10\d: .* copied/,
  )
  const second = await write(100)
  const made = JSON.parse((await run('backup', store, backups, ...options, '--json')).stdout) as Record<
    string,
    number
  >
  expect(made).toMatchObject({ name: '000002', isAuthenticated: true })
  expect(made.restorableFrom).toBeLessThan(second)
  expect(made.copiedBytes).toBeLessThan(made.sizeBytes!)
  const listed = await run('backups', backups, '--verify')
  expect(listed.stdout).toMatch(/000001 .*\n000002 .*\nok: 2 backups verified\n$/)

  const target = join(directory, 'restored')
  const { stdout, stderr } = await run(
    'restore',
    backups,
    target,
    '--to',
    `${first + 40}`,
    '--secret-file',
    key,
  )
  expect(stdout, stderr).toBe(`restored and verified: ${target} is at position ${first + 40}\n`)
  const db = await open(target, { readOnly: true })
  expect(db.position).toBe(first + 40)
  await db.close()
  const time = new Date(made.createdMs!).toISOString()
  expect((await run('restore', backups, join(directory, 'by-time'), '--to', time)).status).toBe(0)
  expect((await run('restore', backups, join(directory, 'x'), '--to', 'yesterday')).status).toBe(2)

  const folder = join(backups, readdirSync(backups).find((name) => name.length === 32)!)
  const file = join(folder, readdirSync(folder).find((name) => name.endsWith('.seg'))!)
  const bytes = readFileSync(file)
  bytes[9]! ^= 1
  writeFileSync(file, bytes)
  const damaged = await run('backups', backups, '--verify')
  expect(damaged).toMatchObject({ status: 1, stdout: '' })
  expect(damaged.stderr).toMatch(
    /^varve: VARVE_CORRUPTION: .*\.seg at byte 0: SHA-256 mismatch; varve restore --backup .*\n$/,
  )
})
