import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { compare, type Database, open } from '../database.js'
import { SeededRandom } from '../env/seeded-random.js'
import { claim, note, section } from './demo-report.js'
import { formatCount, plural } from './format.js'
import { closeAfter } from './store.js'

const CLIENTS = ['Ada', 'Bob'] as const
const KEYS = 200
const WRITES = 4000
const PAUSE_TURNS_MAX = 4

type Write = (key: string, value: string, random: SeededRandom) => Promise<void>

/** Two clients, two stores: first each client writes to both, then both write to one and the other follows its log. */
export async function showRace(directory: string): Promise<void> {
  section('Dual writes')
  note('two clients write to a database and to a cache, each write to both, as networks let them')
  await withPair(directory, 'dual', async (database, cache) => {
    const writes = await runClients(async (key, value, random) => {
      await database.put(key, value)
      await pause(random)
      await cache.put(key, value)
    })
    await crossOver(database, cache)
    const different = await differences(database, cache)
    claim(
      different.includes('X'),
      `X is ${await database.get('X')} in the database and ${await cache.get('X')} in the cache, and no write failed`,
    )
    claim(
      different.length > 1,
      `of ${KEYS + 1} keys ${different.length} differ after ${formatCount(writes)} writes, all acknowledged by both`,
    )
    await Promise.all([database.sync(), cache.sync()])
    claim(
      (await differences(database, cache)).length === different.length,
      'everything is quiet and on disk, and they still differ: nothing will ever bring them together',
    )
    const found = await compare(database, cache)
    claim(
      found !== undefined,
      `compare() finds it: they part at position ${found?.position}, at ${found?.keys.join(' and ')}`,
    )
  })

  section('The same traffic through the log')
  note('the clients write to the database alone; the cache takes its changes, each as one batch')
  await withPair(directory, 'log', async (database, cache) => {
    const following = new AbortController()
    const cached = follow(database, cache, following.signal)
    const writes = await runClients(async (key, value, random) => {
      await database.put(key, value)
      await pause(random)
    })
    await cache.get('', { atLeast: database.position })
    following.abort()
    await cached
    claim(
      (await differences(database, cache)).length === 0,
      `no key differs after ${formatCount(writes)} writes`,
    )
    claim(
      (await compare(database, cache)) === undefined,
      `and compare() proves it: ${plural(cache.position, 'batch')} in the same order, the same state`,
    )
  })
}

async function withPair(
  directory: string,
  name: string,
  work: (database: Database, cache: Database) => Promise<void>,
): Promise<void> {
  const database = await open(join(directory, `${name}-database`))
  await closeAfter(database, async () => {
    const cache = await open(join(directory, `${name}-cache`))
    await closeAfter(cache, () => work(database, cache))
  })
}

/** Each client goes through the keys again and again. Returns how many writes there were. */
async function runClients(write: Write): Promise<number> {
  const clients = CLIENTS.map(async (name, client) => {
    const random = new SeededRandom(client)
    for (let i = 0; i < WRITES / CLIENTS.length; i++) await write(`key ${i % KEYS}`, `${name} ${i}`, random)
  })
  await Promise.all(clients)
  return WRITES
}

/** The race, step by step. */
async function crossOver(database: Database, cache: Database): Promise<void> {
  await database.put('X', 'Ada')
  await database.put('X', 'Bob')
  await cache.put('X', 'Bob')
  await cache.put('X', 'Ada')
}

async function follow(database: Database, cache: Database, signal: AbortSignal): Promise<void> {
  try {
    for await (const { ops } of database.changes({ after: cache.position, live: true, signal })) {
      await cache.batch(ops.filter((op) => op.type !== 'clear'))
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

async function pause(random: SeededRandom): Promise<void> {
  for (let turns = random.below(PAUSE_TURNS_MAX); turns > 0; turns--) await nextTurn()
}

async function differences(a: Database, b: Database): Promise<string[]> {
  const keys = new Set([...(await a.keys().all()), ...(await b.keys().all())])
  return [...keys].filter((key) => a.getSync(key) !== b.getSync(key))
}
