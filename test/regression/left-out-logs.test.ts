import { expect, it } from 'vitest'
import { type MemoryEnv, memoryEnv } from '../../src/env/memory-env.js'
import { openMemory, pad, STORE, TINY } from '../store/helpers.js'

const KEPT = { ...TINY, durability: 'os', log: { maxBytes: 2 ** 20 } } as const

function logsOf({ fs }: MemoryEnv): string[] {
  return fs.list(STORE).filter((name) => name.endsWith('.log'))
}

/** A killed store with two log files that recovery needs, of which the older has lost its end. */
async function tornInTheMiddle(): Promise<{ env: MemoryEnv; leftOut: string }> {
  const { db, env } = await openMemory(KEPT)
  for (let i = 0; i < 40; i++) void db.put(pad(i), 'x'.repeat(60))
  while (logsOf(env).length < 2) await Promise.resolve()
  const { fs } = memoryEnv({ fs: env.fs.clone() })
  await db.close()
  const [older, leftOut] = fs.list(STORE).filter((name) => name.endsWith('.log'))
  const path = `${STORE}/${older}`
  const bytes = Buffer.from(fs.readFile(path))
  // Only the last batch of its last frame is damaged: where a kill tore it, as far as anybody knows.
  bytes.fill(7, bytes.length - 20)
  fs.writeFile(path, bytes)
  return { env: memoryEnv({ fs }), leftOut: leftOut! }
}

/** Was: they were looked at as history once more, so that one that could not be read hid all history before it. */
it.each([
  'removed',
  'not removed',
])('log files that a recovery leaves out are no history: %s', async (end) => {
  const { env, leftOut } = await tornInTheMiddle()
  if (end === 'not removed')
    env.fs.inject({ op: 'remove', path: /\.log$/, repeat: 'forever', effect: { errno: 'EACCES' } })
  // The recovery itself reads it, to see what it proves.
  const opened = env.fs.inject({
    ...{ op: 'open', path: new RegExp(leftOut), nth: 3, repeat: 'forever' },
    effect: { errno: 'EIO' },
  })
  for (let life = 0; life < 2; life++) {
    const { db } = await openMemory(KEPT, env)
    const positions: number[] = []
    for await (const { position } of db.changes()) positions.push(position)
    expect(positions).toEqual(Array.from({ length: db.position }, (_, i) => i + 1))
    expect(db.oldestPosition).toBe(1)
    await db.verify()
    await db.put('next', '1', { durability: 'disk' })
    await db.close()
    if (life === 0) expect([opened.fired, logsOf(env).includes(leftOut)]).toEqual([0, end === 'not removed'])
  }
})
