import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { compare } from '../compare.js'
import { type Database, open } from '../database.js'
import { SeededRandom } from '../env/seeded-random.js'
import { claim, note, section } from './demo-report.js'
import { formatCount, plural } from './format.js'
import { closeAfter } from './store.js'

const CLIENTS = 40
const KEYS = 40
const WRITES_PER_CLIENT = 150
/** Turns of the event loop; one write in four takes so long. */
const SLOW_TURNS = 30

type Write = (key: string, value: string, random: SeededRandom) => Promise<void>

/** Two stores: first every client writes to both, then to one, and the other one follows its log. */
export async function showRace(directory: string): Promise<void> {
  section('Dual writes')
  note(`${CLIENTS} clients write to a database and then to a cache, at the pace of their networks`)
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
      different.length > 0,
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

/** Returns how many writes there were. */
async function runClients(write: Write): Promise<number> {
  const clients = Array.from({ length: CLIENTS }, async (_, client) => {
    const random = new SeededRandom(client)
    for (let i = 0; i < WRITES_PER_CLIENT; i++) {
      await write(`key ${random.below(KEYS)}`, `${i} by client ${client}`, random)
    }
  })
  await Promise.all(clients)
  return CLIENTS * WRITES_PER_CLIENT
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

/** Between the two writes of a client lies a network that is slow at times. */
async function pause(random: SeededRandom): Promise<void> {
  const turns = random.below(4) === 0 ? SLOW_TURNS : 0
  for (let turn = 0; turn < turns; turn++) await nextTurn()
}

async function differences(a: Database, b: Database): Promise<string[]> {
  const keys = new Set([...(await a.keys().all()), ...(await b.keys().all())])
  return [...keys].filter((key) => a.getSync(key) !== b.getSync(key))
}
