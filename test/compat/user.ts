import {
  type Change,
  type Consumer,
  type Database,
  type OpenOptions,
  open,
  secondaryIndex,
  VarveError,
} from 'varve'
import { VarveLevel } from 'varve/level'
import { openFollower, serveLog } from 'varve/replication'
import { everyCrashPoint, memoryEnv } from 'varve/testing'

interface User {
  name: string
  city?: string
}
const options: OpenOptions<string, User> = { valueEncoding: 'json', durability: { intervalMs: 500 } }
export async function main(): Promise<void> {
  const db: Database<string, User> = await open<string, User>('./x', options)
  await db.put('u1', { name: 'Ada' })
  const u = await db.get('u1')
  console.log(u?.city ?? 'none')
  for await (const [key, value] of db.entries({ prefix: 'u', limit: 3 })) console.log(key.length, value.name)
  const c: Consumer<string, User> = await db.consumer('c')
  await c.run(async (change: Change<string, User>, tx) => {
    for (const op of change.ops) if (op.type === 'put') tx.put('n', { name: op.value.name })
  })
  const byCity = await db.view(
    'by-city',
    secondaryIndex<string, User, string>({ version: 1, key: (_, v) => v.city }),
  )
  console.log(await byCity.find('Oslo'))
  const plain = await db.view('plain', {
    version: 1,
    apply(change, state) {
      state.put('a', String(change.position))
    },
  })
  console.log(await plain.get('a'))
  try {
    await db.put('a', { name: '' }, { ifPosition: null })
  } catch (e) {
    if (e instanceof VarveError && e.code === 'VARVE_CONFLICT') console.log(e.position)
  }
  const tuple = await open<[string, number], number>('./y', { keyEncoding: 'tuple', valueEncoding: 'json' })
  await tuple.put(['a', 1], 2)
  const level = new VarveLevel<string, User>('./z', { valueEncoding: 'json' })
  const got: User | undefined = await level.get('a')
  console.log(got)
  const server = await serveLog(db)
  const f = await openFollower<string, User>('./f', { leader: server.url, valueEncoding: 'json' })
  console.log(f.lag)
  await everyCrashPoint({
    async run({ env }) {
      await (await open('/d', { env })).close()
    },
    async check() {},
  })
  await (await open('/q', { env: memoryEnv() })).close()
  const off = db.on('flush.ended', (e) => console.log(e.durationMs))
  off()
  db.close()
}
