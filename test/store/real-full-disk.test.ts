import { spawnSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { type Database, type Durability, open } from '../../src/index.js'
import { temporaryDirectory } from '../env/temporary-directory.js'
import { codeOf, pad } from './helpers.js'

const KIB = 1024
const DISK_BYTES = 1024 * KIB
/** What is removed once the disk is full. */
const BALLAST_BYTES = 384 * KIB
const OPTIONS = { memory: 2 ** 20, memtableBytes: 32 * KIB, segmentBytes: 32 * KIB, workers: 0 }
const MODES: readonly Durability[] = ['memory', 'os', 'disk', { intervalMs: 5 }]

function mount(directory: string): boolean {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return false
  const options = ['-t', 'tmpfs', '-o', `size=${DISK_BYTES},mode=700`, 'tmpfs', directory]
  return spawnSync('mount', options).status === 0
}

function unmount(directory: string): void {
  if (spawnSync('umount', [directory]).status !== 0) spawnSync('umount', ['-l', directory])
}

/** Random enough that no compression makes room; another one for each key. */
function randomText(key: number): string {
  let state = key + 1
  return Array.from({ length: 100 }, () => {
    state = (state * 48_271) % 2_147_483_647
    return state.toString(36)
  }).join('')
}

/** Writes until there is no room; how many writes were acknowledged. */
async function fill(db: Database, from: number): Promise<number> {
  for (let i = from; i < from + 5000; i++) {
    const code = await codeOf(() => db.put(pad(i), randomText(i)))
    if (code === undefined) continue
    expect(code).toBe('VARVE_NO_SPACE')
    return i
  }
  throw new Error('the disk is never full')
}

async function expectAll(db: Database, count: number): Promise<void> {
  const lost: number[] = []
  for (let i = 0; i < count; i++) if ((await db.get(pad(i))) !== randomText(i)) lost.push(i)
  expect(lost).toEqual([])
}

it.for(MODES)(
  'a real disk that is full, and freed, loses nothing acknowledged, with durability %o',
  { timeout: 60_000 },
  async (durability, { skip }) => {
    const disk = temporaryDirectory()
    if (!mount(disk)) skip('it takes the right to mount a file system')
    onTestFinished(() => unmount(disk))
    const ballast = join(disk, 'ballast')
    writeFileSync(ballast, Buffer.alloc(BALLAST_BYTES, 1))
    const db = await open(join(disk, 'store'), { ...OPTIONS, durability })
    const first = await fill(db, 0)
    expect(first).toBeGreaterThan(100)
    // Reads go on, writes do not; what memory alone held is read too.
    await expectAll(db, first)
    expect(await codeOf(() => db.put('late', '1'))).toBe('VARVE_NO_SPACE')
    rmSync(ballast)
    await db.resume()
    // Of what was never handed to the system, nothing was promised to outlast this.
    const kept = durability === 'memory' ? db.position : first
    await expectAll(db, kept)
    const second = await fill(db, kept)
    expect(second).toBeGreaterThan(first)
    await db.close().catch(() => {})
    // Room for the recovery, as nothing else lies here to be removed.
    expect(spawnSync('mount', ['-o', `remount,size=${4 * DISK_BYTES}`, disk]).status).toBe(0)
    const again = await open(join(disk, 'store'), OPTIONS)
    await expectAll(again, durability === 'memory' ? again.position : second)
    await again.verify()
    await again.close()
  },
)
