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

it('repair says what is damaged and lost, and leaves a store that verifies', async () => {
  const directory = join(temporaryDirectory(), 'store')
  const db = await open(directory, { blockBytes: 500 })
  for (let i = 0; i < 100; i++) await db.put(`key ${i}`, `value ${i} `.repeat(10))
  await db.flush()
  await db.close()
  expect(await run('repair', directory)).toEqual({
    status: 0,
    stdout: 'ok: nothing is damaged, nothing was changed\n',
    stderr: '',
  })
  const segment = join(directory, readdirSync(directory).find((name) => name.endsWith('.seg'))!)
  const bytes = readFileSync(segment)
  bytes[20]! ^= 1
  writeFileSync(segment, bytes)
  expect((await run('verify', directory)).status).toBe(1)
  const { status, stdout } = await run('repair', directory, '--json')
  expect(status).toBe(1)
  const report = JSON.parse(stdout) as { damaged: { file: string }[]; lost: object[]; copies: string }
  expect(report.damaged.map(({ file }) => file)).toEqual([segment])
  expect(report.lost).toMatchObject([{ kind: 'block', file: segment }])
  expect(readdirSync(report.copies)).toContain(segment.slice(directory.length + 1))
  expect((await run('verify', directory)).status).toBe(0)
  expect((await run('repair', directory)).stdout).toMatch(/^ok/)
  expect((await run('repair', join(directory, 'none'))).status).toBe(2)
})
