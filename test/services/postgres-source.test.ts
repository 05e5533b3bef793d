import { rmSync } from 'node:fs'
import type pg from 'pg'
import { PgoutputPlugin } from 'pg-logical-replication'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { lsnOf } from '../examples/postgres-source/lsn.js'
import { LSN_KEY, TABLES_KEY } from '../examples/postgres-source/postgres-source.js'
import { Child, type ChildEvent, killChildren } from './child.js'
import {
  connect,
  currentLsn,
  newDatabase,
  openRowStore,
  type RowStore,
  tablesInPostgres,
  tablesInStore,
} from './postgres-helpers.js'
import { createTraffic, TABLES, TOTAL_BALANCE, TrafficSession } from './postgres-traffic.js'
import { newDirectory, POSTGRES, type PostgresServer, startPostgres } from './servers.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const ROUNDS = 8
const SESSIONS = 3
const TRANSACTIONS = 1008

/** True once the store has everything that was committed up to now. */
async function afterMarker(client: pg.Client): Promise<(events: readonly ChildEvent[]) => boolean> {
  const before = lsnOf(await currentLsn(client))
  await client.query('update accounts set changed = null where id = 1')
  return (events) =>
    events.some(
      ({ type, lsn }) => (type === 'applied' || type === 'streaming') && lsnOf(String(lsn)) > before,
    )
}

/** Where each transaction that changed a published table ends in PostgreSQL's log, by a slot of its own. */
async function commitsOf(client: pg.Client): Promise<bigint[]> {
  const { rows } = await client.query(
    `select data from pg_logical_slot_get_binary_changes('witness', null, null,
       'proto_version', '1', 'publication_names', 'traffic')`,
  )
  const plugin = new PgoutputPlugin({ protoVersion: 1, publicationNames: ['traffic'] })
  const messages = rows.map(({ data }) => plugin.parse(data))
  return messages.flatMap((message) => (message.tag === 'commit' ? [lsnOf(message.commitEndLsn!)] : []))
}

/** Since the copy: one batch for each commit, in the order of commits, and no sum of balances but the right one. */
async function proveOrder(store: RowStore, commits: readonly bigint[]): Promise<number> {
  const balances = new Map<string, number>()
  const positions: bigint[] = []
  let hasCopy = false
  for await (const { ops } of store.changes()) {
    let lsn: bigint | undefined
    for (const op of ops) {
      if (op.type === 'clear') balances.clear()
      else if (op.key.startsWith('row/public/accounts/') && op.type === 'put') {
        balances.set(op.key, Math.round(Number((op.value as { balance: string }).balance) * 100))
      } else if (op.key === LSN_KEY) lsn = op.type === 'put' ? lsnOf(op.value as string) : undefined
    }
    if (ops.some((op) => op.type !== 'clear' && op.key === TABLES_KEY)) {
      hasCopy = true
      positions.length = 0
    }
    if (!hasCopy) continue
    if (lsn === undefined && ops.length > 0) throw new Error('rows without the position of their transaction')
    if (lsn === undefined) continue
    positions.push(lsn)
    const total = [...balances.values()].reduce((sum, balance) => sum + balance, 0)
    if (total !== TOTAL_BALANCE * 100) throw new Error(`half a transaction at ${lsn}: ${total}`)
  }
  const [copied, ...later] = positions
  const known = new Set(commits)
  const applied = later.filter((lsn) => known.has(lsn))
  expect(applied).toEqual(commits.filter((lsn) => lsn > copied!))
  // What is there beyond them only moves the position on while other tables are written.
  for (let i = 1; i < positions.length; i++) expect(positions[i]! > positions[i - 1]!).toBe(true)
  return applied.length
}

describe.skipIf(!POSTGRES)('a store fed from PostgreSQL', () => {
  let server: PostgresServer
  beforeAll(async () => {
    server = await startPostgres()
  })
  afterEach(killChildren)
  afterAll(() => server?.stop())

  it(`D39 D13: 1000 random transactions, both sides killed again and again: equal, in the order of commits (seed ${SEED})`, async () => {
    console.log(`seed ${SEED}`)
    const random = new SeededRandom(SEED)
    const url = await newDatabase(server.connectionString, 'traffic')
    let client = await connect(url)
    await createTraffic(client)
    await client.query(`select pg_create_logical_replication_slot('witness', 'pgoutput')`)
    const sessions = Array.from({ length: SESSIONS }, (_, i) => new TrafficSession(url, SEED, i + 1))
    const directory = newDirectory('store')
    const run = () => new Child('../examples/postgres-source/main.js', [directory, url, 'traffic', 'store'])
    const lives: Child[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const child = run()
      lives.push(child)
      const hasSeen = (type: string, count: number) => child.until(() => child.count(type) >= count)
      const seen = round < 2 ? hasSeen('copying', 1) : hasSeen('applied', 1 + random.below(40))
      let isSeen = false
      // The store may be so quick to copy that a round's transactions are all in the copy: there are more then.
      const writing = Promise.all(
        sessions.map(async (session) => {
          await session.run(TRANSACTIONS / SESSIONS / ROUNDS)
          while (!isSeen) await session.run(1)
        }),
      )
      await seen
      await new Promise((resolve) => setTimeout(resolve, random.below(40)))
      if (round === 4 || round === 6) {
        await server.crash()
        await server.start()
      }
      isSeen = true
      await child.kill()
      await writing
    }
    const last = run()
    lives.push(last)
    await Promise.all(sessions.map((session) => session.close()))
    await client.end()
    client = await connect(url)
    await last.until(await afterMarker(client))
    expect(await last.kill('SIGTERM')).toEqual({ code: 0, errors: '' })

    const store = await openRowStore(directory)
    try {
      expect(await tablesInStore(store, client, TABLES)).toEqual(await tablesInPostgres(client, TABLES))
      const applied = await proveOrder(store, await commitsOf(client))
      const total = (type: string) => lives.reduce((sum, life) => sum + life.count(type), 0)
      const sum = (of: 'committed' | 'rolledBack' | 'unknown') => sessions.reduce((n, s) => n + s[of], 0)
      console.log(
        `${sum('committed')} committed, ${sum('rolledBack')} rolled back, ${sum('unknown')} broken off; ` +
          `${applied} batches since the copy; ${lives.length - 1} kills, 2 of them while copying; ` +
          `${total('skipped')} delivered again and skipped; ${total('retrying')} reconnections`,
      )
      expect(total('skipped')).toBeGreaterThan(0)
      expect(total('copying')).toBeGreaterThanOrEqual(2)
      expect(sum('committed')).toBeGreaterThan(TRANSACTIONS / 2)
      expect(sum('rolledBack')).toBeGreaterThan(TRANSACTIONS / 20)
    } finally {
      await store.close()
      await client.end()
    }
  }, 150_000)

  it('D43: the whole store is deleted: PostgreSQL alone brings the same store back', async () => {
    const url = await newDatabase(server.connectionString, 'rebuilt')
    const client = await connect(url)
    await createTraffic(client)
    const session = new TrafficSession(url, SEED, 1)
    const states: unknown[] = []
    const directory = newDirectory('store')
    for (let life = 0; life < 2; life++) {
      const child = new Child('../examples/postgres-source/main.js', [directory, url, 'traffic', 'rebuilt'])
      await child.until((events) => events.some(({ type }) => type === 'streaming'))
      if (life === 0) await session.run(100)
      await child.until(await afterMarker(client))
      expect(await child.kill('SIGTERM')).toEqual({ code: 0, errors: '' })
      const store = await openRowStore(directory)
      states.push(await tablesInStore(store, client, TABLES))
      await store.close()
      // Nothing is left but PostgreSQL, and the slot there that belonged to this store.
      rmSync(directory, { recursive: true })
    }
    expect(states[0]).toEqual(await tablesInPostgres(client, TABLES))
    expect(states[1]).toEqual(states[0])
    await session.close()
    await client.end()
  }, 60_000)
})
