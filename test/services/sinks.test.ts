import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type pg from 'pg'
import { createClient } from 'redis'
import { open } from 'varve'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { isWithin } from '../examples/sinks/changes.js'
import { Child, killChildren } from './child.js'
import { connect } from './postgres-helpers.js'
import {
  newDirectory,
  POSTGRES,
  type PostgresServer,
  REDIS,
  type RedisServer,
  startPostgres,
  startRedis,
} from './servers.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const LIVES = 10
const MAILS = 400

type Entries = Record<string, string>

describe.skipIf(!POSTGRES || !REDIS)('sinks', () => {
  let postgres: PostgresServer
  let redis: RedisServer
  beforeAll(async () => {
    postgres = await startPostgres()
    redis = await startRedis()
  })
  afterEach(killChildren)
  afterAll(async () => {
    await postgres?.stop()
    await redis?.stop()
  })

  it(`D31 D33 D34: program, PostgreSQL and Redis killed again and again: all sinks agree with the log (seed ${SEED})`, async () => {
    console.log(`seed ${SEED}`)
    const random = new SeededRandom(SEED)
    const directory = newDirectory('app')
    const run = (mode: string) =>
      new Child('mail-app.js', [
        directory,
        postgres.connectionString,
        redis.url,
        String(random.uint32()),
        mode,
        String(MAILS),
      ])
    const lives: Child[] = []
    let ownKills = 0
    for (let i = 0; i < LIVES; i++) {
      const child = run('live')
      lives.push(child)
      const lives_ = await child.until((events) => events.some(({ type }) => type === 'started'))
      if (lives_ && i % 4 === 1) {
        await new Promise((resolve) => setTimeout(resolve, random.below(200)))
        await redis.crash()
        await redis.start()
      }
      if (lives_ && i % 4 === 3) {
        await new Promise((resolve) => setTimeout(resolve, random.below(200)))
        await postgres.crash()
        await postgres.start()
      }
      const pause = new Promise((resolve) => setTimeout(resolve, 300 + random.below(600)))
      await Promise.race([pause, child.end()])
      if (child.hasEnded) ownKills++
      await child.kill()
    }
    const last = run('finish')
    lives.push(last)
    await last.until((events) => events.some(({ type }) => type === 'finished'))
    expect(await last.end()).toMatchObject({ code: 0, errors: '' })

    const store = await open(join(directory, 'mails'), { readOnly: true })
    const expected = Object.fromEntries(await store.entries().all())
    await store.close()
    const mails = Object.keys(expected).filter((key) => key.startsWith('mail/'))
    const finished = last.events.find(({ type }) => type === 'finished')!
    const client = createClient({ url: redis.url })
    await client.connect()
    expect(await inPostgres(await connect(postgres.connectionString))).toEqual(expected)
    expect({ ...(await client.hGetAll('mails')) }).toEqual(expected)
    expect(await client.zRange('mails:keys', 0, -1)).toEqual(Object.keys(expected).sort())
    expect({ ...(await client.hGetAll('plain')) }).toEqual(expected)
    expect(unreadOf(await client.hGetAll('unread'))).toEqual(countsOf(mails))
    expect(finished['found']).toEqual(mails.filter((key) => expected[key]!.includes('meltwater')).sort())
    expect(inFile(join(directory, 'warehouse.jsonl'))).toEqual(expected)
    expect(await inStore(join(directory, 'second'))).toEqual(expected)
    // All of them stand at the same position.
    const positions = Object.values(finished['positions'] as Record<string, number>)
    expect(new Set(positions).size).toBe(1)

    const skipped: Record<string, number> = {}
    for (const event of lives.flatMap(({ events }) => events)) {
      if (event.type !== 'skipped') continue
      const name = String(event['sink'])
      skipped[name] = (skipped[name] ?? 0) + Number(event['count'])
    }
    const retries = lives.reduce((sum, life) => sum + life.count('retry'), 0)
    console.log(
      `${mails.length} mails left; ${LIVES} kills, ${ownKills} of them between commit and acknowledgement; ` +
        `delivered again and skipped: ${JSON.stringify(skipped)}; ${retries} retries of a sink; position ${positions[0]}`,
    )
    expect(Object.values(skipped).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(0)
    expect(mails.length).toBeGreaterThan(100)
    await client.close()
  }, 150_000)
})

async function inPostgres(client: pg.Client): Promise<Entries> {
  const { rows } = await client.query(`select convert_from(key, 'UTF8') as key, value from mails`)
  await client.end()
  return Object.fromEntries(rows.map(({ key, value }) => [key, value]))
}

async function inStore(path: string): Promise<Entries> {
  const store = await open(path, { readOnly: true })
  const { '!position': _, ...entries } = Object.fromEntries(await store.entries().all())
  await store.close()
  return entries
}

/** The file's lines, applied in order; positions must only grow. */
function inFile(path: string): Entries {
  const entries = new Map<string, string>()
  let last = 0
  for (const line of readFileSync(path, 'utf8').trimEnd().split('\n')) {
    const { position, ops } = JSON.parse(line)
    if (position !== null) {
      expect(position).toBeGreaterThan(last)
      last = position
    }
    for (const op of ops) {
      if (op.type === 'put') entries.set(op.key, op.value)
      else if (op.type === 'del') entries.delete(op.key)
      else {
        const [start, end] = [Buffer.from(op.start), op.end && Buffer.from(op.end)]
        for (const key of [...entries.keys()]) if (isWithin(key, start, end)) entries.delete(key)
      }
    }
  }
  return Object.fromEntries(entries)
}

function unreadOf(counters: Record<string, string>): Record<string, number> {
  const numbers = Object.entries(counters).map(([user, count]) => [user, Number(count)] as const)
  return Object.fromEntries(numbers.filter(([, count]) => count !== 0))
}

function countsOf(mails: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const user of mails.map((key) => key.split('/')[1]!)) counts[user] = (counts[user] ?? 0) + 1
  return counts
}
