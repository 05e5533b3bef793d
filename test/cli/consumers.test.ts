import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { open } from '../../src/index.js'
import { runMain } from './in-process.js'

const root = mkdtempSync(join(tmpdir(), 'varve-cli-consumers-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

async function varve(...args: string[]) {
  const { status, stdout, stderr } = await runMain(['consumers', ...args])
  return { status, stdout, stderr }
}

describe('consumers', () => {
  const store = join(root, 'store')
  beforeAll(async () => {
    const db = await open(store)
    for (let i = 0; i < 5; i++) await db.put(`key ${i}`, 'x'.repeat(100))
    const behind = await db.consumer('behind', { from: 2 })
    await behind.run(
      ({ position }) => {
        if (position === 3) throw new Error('bad')
        if (position === 4) void behind.close()
      },
      { onError: 'park' },
    )
    await db.consumer('name\twith\u001b[31m more', { from: 'now' })
    await db.close()
  })

  it('lists each with its position, its lag and what it has parked', async () => {
    const { status, stdout, stderr } = await varve(store)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const [head, behind, other] = stdout.split('\n')
    expect(head).toMatch(/^consumer +position +lag +log +age +parked$/)
    expect(behind).toMatch(/^"behind" +4 +\d+ +[\d.]+ K?i?B +.* 1$/)
    expect(other).toMatch(/^"name\\twith\\u001b\[31m more" /)
    const rows = JSON.parse((await varve(store, '--json')).stdout)
    expect(rows).toMatchObject([
      { name: 'behind', position: 4, parked: 1 },
      { lag: 0, lagMs: 0 },
    ])
    expect(rows[0].lag).toBeGreaterThan(0)
    expect(rows[0].lagBytes).toBeGreaterThan(0)
  })

  it('forgets one, and says with its status that one is not there', async () => {
    expect(await varve(store, '--drop', 'nobody')).toEqual({
      status: 1,
      stdout: '',
      stderr: 'varve: no consumer "nobody"\n',
    })
    expect(await varve(store, '--drop', 'behind')).toEqual({
      status: 0,
      stdout: 'dropped "behind"\n',
      stderr: '',
    })
    expect(JSON.parse((await varve(store, '--json')).stdout)).toHaveLength(1)
    await varve(store, '--drop', 'name\twith\u001b[31m more')
    expect((await varve(store)).stdout).toBe('no consumers\n')
  })

  it('makes no directory that is not there', async () => {
    const missing = join(root, 'missing')
    expect(await varve(missing)).toMatchObject({
      status: 2,
      stderr: `varve: no such directory: ${missing}\n`,
    })
    expect(existsSync(missing)).toBe(false)
  })
})
