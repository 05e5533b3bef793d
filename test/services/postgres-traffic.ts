import pg from 'pg'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { connect } from './postgres-helpers.js'

export const TABLES = ['accounts', 'notes', 'pairs'] as const
const ACCOUNTS = 50
const START_BALANCE = 1000
export const TOTAL_BALANCE = ACCOUNTS * START_BALANCE

export async function createTraffic(client: pg.Client): Promise<void> {
  await client.query(`
    create table accounts (id int primary key, balance numeric(12, 2) not null, changed timestamptz);
    create table notes (id bigint primary key, title text, body text, tags jsonb, data bytea, score float8);
    alter table notes alter body set storage external;
    create table pairs (a int, b text, v int[], primary key (b, a));
    create publication traffic for table accounts, notes, pairs;
    insert into accounts select i, ${START_BALANCE} from generate_series(1, ${ACCOUNTS}) i;
    insert into notes select i, 'note ' || i, repeat(md5(i::text), 1 + i % 200) from generate_series(1, 1500) i`)
}

/** One session that makes random transactions: of several statements, half of them rolled back to a savepoint or whole. */
export class TrafficSession {
  readonly #connectionString: string
  readonly #random: SeededRandom
  readonly #number: number
  #client: pg.Client | undefined
  #nextId: number
  committed = 0
  rolledBack = 0
  /** Broke off with the connection: committed or not, who knows. */
  unknown = 0

  constructor(connectionString: string, seed: number, number: number) {
    this.#connectionString = connectionString
    this.#random = new SeededRandom(seed + number)
    this.#number = number
    this.#nextId = number * 1_000_000
  }

  async run(transactions: number): Promise<void> {
    for (let i = 0; i < transactions; i++) await this.#transaction()
  }

  async close(): Promise<void> {
    await this.#client?.end().catch(() => {})
  }

  async #transaction(): Promise<void> {
    try {
      this.#client ??= await connect(this.#connectionString)
      const client = this.#client
      try {
        await client.query('begin')
        const statements = 1 + this.#random.below(6)
        for (let i = 0; i < statements; i++) await this.#step(client)
        const isKept = this.#random.below(100) >= 15
        await client.query(isKept ? 'commit' : 'rollback')
        if (isKept) this.committed++
        else this.rolledBack++
      } catch (error) {
        if (!(error instanceof pg.DatabaseError) || error.code?.startsWith('57')) throw error
        // Two sessions in each other's way.
        await client.query('rollback')
        this.rolledBack++
      }
    } catch {
      // The server died under it.
      this.unknown++
      await this.close()
      this.#client = undefined
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  async #step(client: pg.Client): Promise<void> {
    if (this.#random.below(10) > 0) return this.#statement(client)
    await client.query('savepoint here')
    await this.#statement(client)
    await client.query(`${this.#random.below(2) === 0 ? 'rollback to' : 'release'} here`)
  }

  async #statement(client: pg.Client): Promise<void> {
    const random = this.#random
    const roll = random.below(100)
    const someNote = '(select id from notes offset $1 limit 1)'
    const offset = [random.below(1500)]
    if (roll < 30) await this.#transfer(client)
    else if (roll < 45) await this.#insertNote(client)
    // The body stays as it is: it is not sent again where it lies out of line.
    else if (roll < 60)
      await client.query(`update notes set title = title || '+' where id = ${someNote}`, offset)
    else if (roll < 68) {
      await client.query(`update notes set id = ${this.#newId()} where id = ${someNote}`, offset)
    } else if (roll < 74) await client.query(`delete from notes where id = ${someNote}`, offset)
    else if (roll < 78) {
      await client.query('delete from notes where id % 251 = $1', [random.below(251)])
    } else if (roll < 82) {
      await client.query(`update notes set score = random() where id % 97 = $1`, [random.below(97)])
    } else if (roll < 95) await this.#putPair(client)
    else if (roll < 99) {
      await client.query(`update pairs set b = b || '/', a = a + 1 where a % 5 = $1`, [random.below(5)])
    } else await client.query('truncate pairs')
  }

  /** Whatever is seen of it, the sum of all balances is what it was. */
  async #transfer(client: pg.Client): Promise<void> {
    const [from, to] = [1 + this.#random.below(ACCOUNTS), 1 + this.#random.below(ACCOUNTS)].sort(
      (a, b) => a - b,
    )
    const amount = this.#random.below(1000) / 100
    const sql = 'update accounts set balance = balance + $2, changed = now() where id = $1'
    await client.query(sql, [from, -amount])
    await client.query(sql, [to, amount])
  }

  async #insertNote(client: pg.Client): Promise<void> {
    const body = Buffer.alloc(this.#random.below(4000))
    this.#random.fill(body)
    await client.query('insert into notes values ($1, $2, $3, $4, $5, $6)', [
      this.#newId(),
      `note of ${this.#number} \u{1f30a}`,
      this.#random.below(9) === 0 ? null : body.toString('hex'),
      JSON.stringify({ n: this.#random.below(9), deep: [null, 'ä"\\'] }),
      body.subarray(0, 20),
      this.#random.uint32() / 7,
    ])
  }

  async #putPair(client: pg.Client): Promise<void> {
    const a = this.#random.below(30)
    const b = ['x', '%/', 'ø y', ''][this.#random.below(4)]
    const sql = `insert into pairs values ($1, $2, $3) on conflict (b, a) do update set v = pairs.v || excluded.v[1]`
    await client.query(sql, [a, b, [this.#random.below(100)]])
  }

  #newId(): number {
    return this.#nextId++
  }
}
