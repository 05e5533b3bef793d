import type pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { lsnOf } from '../examples/postgres-source/lsn.js'
import { SourceLostError, type SourceOptions } from '../examples/postgres-source/postgres-source.js'
import { type SlotStatus, watchSlot } from '../examples/postgres-source/slot.js'
import { Following } from './following.js'
import {
  connect,
  newDatabase,
  openRowStore,
  type RowStore,
  savedLsn,
  tablesInPostgres,
  tablesInStore,
} from './postgres-helpers.js'
import { POSTGRES, type PostgresServer, startPostgres } from './servers.js'

describe.skipIf(!POSTGRES)('what PostgreSQL sends', () => {
  let server: PostgresServer
  let client: pg.Client
  let url: string
  let store: RowStore
  let databases = 0
  const running: Following[] = []

  beforeAll(async () => {
    server = await startPostgres(['wal_sender_timeout=800ms', 'checkpoint_timeout=1h'])
  })
  beforeEach(async () => {
    url = await newDatabase(server.connectionString, `changes_${databases++}`)
    client = await connect(url)
    store = await openRowStore()
  })
  afterEach(async () => {
    for (const following of running.splice(0)) await following.stop().catch(() => {})
    await slotIsFree()
    await client.query(
      'select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active',
    )
    await client.end()
    await store.close()
  })
  afterAll(() => server?.stop())

  function follow(options: Partial<SourceOptions> = {}): Following {
    const following = new Following(store, url, options)
    running.push(following)
    return following
  }

  async function expectEqual(...tables: string[]): Promise<void> {
    expect(await tablesInStore(store, client, tables)).toEqual(await tablesInPostgres(client, tables))
  }

  /** The server may hold the slot for a moment after its reader is gone. */
  async function slotIsFree(): Promise<void> {
    const sql = 'select 1 from pg_replication_slots where active'
    while ((await client.query(sql)).rows.length > 0) await new Promise((resolve) => setTimeout(resolve, 10))
  }

  const keys = (prefix = 'row/') => store.keys({ prefix }).all()

  /** Each statement is a transaction; all are applied when this resolves. */
  async function apply(following: Following, ...transactions: string[]): Promise<void> {
    const before = following.count('applied')
    for (const sql of transactions) await client.query(sql)
    await following.applied(before + transactions.length)
  }

  it('moves a row whose primary key changes, also to a key that another row left in the same transaction', async () => {
    await client.query(`create table t (id int primary key, name text); create publication published for table t;
      insert into t values (1, 'one'), (2, 'two'), (3, 'three')`)
    const following = follow()
    await following.streaming()
    await apply(
      following,
      'update t set id = 9 where id = 3',
      'begin; update t set id = 0 where id = 1; update t set id = 1 where id = 2; update t set id = 2 where id = 0; commit',
    )
    await expectEqual('t')
    expect(await keys()).toEqual(['row/public/t/1', 'row/public/t/2', 'row/public/t/9'])
    expect(await store.get('row/public/t/1')).toEqual({ id: '1', name: 'two' })
  })

  it('keeps a value that is stored out of line and did not change, by key, by full row and across a new key', async () => {
    await client.query(`create table t (id int primary key, n int, body text); create table f (like t including all);
      alter table t alter body set storage external; alter table f alter body set storage external;
      alter table f replica identity full; create publication published for table t, f`)
    const following = follow()
    await following.streaming()
    const body = 'b'.repeat(20_000)
    for (const table of ['t', 'f']) {
      await apply(
        following,
        `insert into ${table} values (1, 1, '${body}'), (2, 1, '${body}')`,
        `update ${table} set n = 2 where id = 1`,
        `update ${table} set id = 3, n = 5 where id = 2`,
        // What an earlier change of the same transaction wrote is what a later one keeps.
        `begin; update ${table} set body = '${body}changed' where id = 1; update ${table} set n = 3 where id = 1; commit`,
        `begin; insert into ${table} values (4, 1, '${body}4'); update ${table} set id = 5 where id = 4; commit`,
      )
    }
    await expectEqual('t', 'f')
    const row = (await store.get('row/public/t/1')) as { body: string }
    expect(row.body).toBe(`${body}changed`)
  })

  it('deletes and truncates as one batch each, and what comes after a TRUNCATE in its transaction stays', async () => {
    await client.query(`create table t (id int primary key, n int); create table full_row (like t including all);
      create table other (id int primary key); alter table full_row replica identity full;
      create publication published for table t, full_row, other;
      insert into t select i, 0 from generate_series(1, 100) i; insert into full_row select * from t;
      insert into other values (1)`)
    const following = follow()
    await following.streaming()
    await apply(following, 'delete from t where id <= 50', 'delete from full_row where id % 2 = 0')
    await expectEqual('t', 'full_row', 'other')
    const before = store.position
    await apply(
      following,
      'begin; insert into t values (200, 1); truncate t, full_row; insert into t values (7, 7), (201, 2); commit',
    )
    expect(store.position).toBe(before + 1)
    await expectEqual('t', 'full_row', 'other')
    expect(await keys()).toEqual(['row/public/other/1', 'row/public/t/201', 'row/public/t/7'])
  })

  it('keeps every type as the text that PostgreSQL prints, from the snapshot and from the stream alike', async () => {
    await client.query(`create type mood as enum ('glad', 'sad');
      create table t (k text, d date, x numeric, j jsonb, b bytea, f float8, i interval, m mood, r int4range,
        a text[], z timestamptz, big int8, "odd ""name" text, primary key (d, k));
      create publication published for table t`)
    const values = `'2026-02-29'::date - 1, 1e30 / 3, '{"a": [1, null]}', '\\x00ff', 0.1::float8 + 0.2, '1 mon 2 days',
      'sad', '[1,5)', array['a,"b', null], '2026-01-01 00:00:00.123456+13', 9223372036854775807, 'ä/%\u{1f30a}'`
    await client.query(`insert into t select 'copied/:', ${values.replace('2026-02-29', '2026-02-27')}`)
    const following = follow()
    await following.streaming()
    await apply(following, `insert into t select 'streamed%', ${values.replace('2026-02-29', '2026-02-27')}`)
    await expectEqual('t')
    const rows = (await store.values({ prefix: 'row/public/t/' }).all()) as Record<string, string>[]
    expect(rows.map(({ k, ...rest }) => rest)[0]).toEqual(rows.map(({ k, ...rest }) => rest)[1])
    expect(rows[0]).toMatchObject({ big: '9223372036854775807', d: '2026-02-26', f: '0.30000000000000004' })
  })

  it('goes on under a new column that is null in the rows that exist, and copies again under any other', async () => {
    await client.query(`create table t (id int primary key, a text); create publication published for table t;
      insert into t select i, 'a' from generate_series(1, 20) i`)
    const following = follow({ whenLost: 'copy' })
    await following.streaming()
    await client.query('alter table t add column b text')
    await apply(following, `update t set b = 'b' where id = 1`)
    await expectEqual('t')
    expect(following.count('copying')).toBe(1)
    const changes = [
      'alter table t add column c int default 5',
      'alter table t rename column b to bb',
      'alter table t drop column bb',
      'alter table t alter column c type text',
      'alter table t drop constraint t_pkey, add primary key (a, id)',
    ]
    for (const [i, change] of changes.entries()) {
      await client.query(change)
      await client.query(`update t set a = 'x' where id = ${i + 2}`)
      await following.until(
        () => following.count('copying') === i + 2 && following.events.at(-1)?.type === 'lag',
      )
      await expectEqual('t')
    }
    await client.query('create table late (id int primary key); insert into late values (1), (2)')
    await client.query('alter publication published add table late')
    await client.query('insert into late values (3)')
    await following.until(() => following.count('copying') === 7 && following.events.at(-1)?.type === 'lag')
    await expectEqual('t', 'late')
  })

  it('stops at a table with other columns before anything of that transaction is applied, unless told to copy', async () => {
    await client.query(`create table t (id int primary key, a text); create publication published for table t;
      insert into t values (1, 'a')`)
    const following = follow()
    await following.streaming()
    await apply(following, `insert into t values (2, 'b')`)
    const { position } = store
    await client.query(`alter table t add column c int default 5`)
    await client.query(`begin; insert into t values (3, 'c', 6); commit`)
    await expect(following.ended).rejects.toThrow(SourceLostError)
    await expect(follow().ended).rejects.toThrow('public/t has other columns')
    expect(store.position).toBe(position)
  })

  it('refuses tables whose rows it could not tell apart, before anything is written', async () => {
    await client.query(`create table none (a int); create table late (a int primary key deferrable);
      create publication published for table none, late`)
    await expect(follow().ended).rejects.toThrow('public/late has no primary key')
    expect(await keys('')).toEqual([])
  })

  it('acknowledges to the byte: the next transaction is not skipped where its commit follows at once', async () => {
    await client.query('create table t (id int primary key); create publication published for table t')
    const sessions = [await connect(url), await connect(url)]
    let adjacent = 0
    for (let i = 0; i < 30 && adjacent < 5; i++) {
      const following = follow({
        onEvent: ({ type }) => {
          if (type === 'applied') following.abort()
        },
      })
      await following.streaming()
      const [first, second] = [i * 2 + 1, i * 2 + 2]
      for (const [j, session] of sessions.entries()) {
        await session.query('begin')
        await session.query(`insert into t values (${j === 0 ? first : second})`)
      }
      await Promise.all(sessions.map((session) => session.query('commit')))
      // Stopped with the first one saved and acknowledged.
      await following.ended
      await slotIsFree()
      const { rows } = await client.query(
        `select confirmed_flush_lsn as lsn from pg_replication_slots where slot_name = 'following'`,
      )
      expect(lsnOf(rows[0].lsn)).toBe(lsnOf(await savedLsn(store)))
      const again = follow()
      const isMissing = (await keys()).length < second
      if (isMissing) await again.applied(1)
      else await again.streaming()
      await again.stop()
      await expectEqual('t')
      if (isMissing) adjacent++
    }
    for (const session of sessions) await session.end()
    expect(adjacent).toBeGreaterThan(0)
  })

  it('answers the heartbeats of a server that would cut it off, and moves on while only other tables are written', async () => {
    await client.query(`create table t (id int primary key); create table private (id int, body text);
      create publication published for table t; insert into t values (1)`)
    const following = follow()
    await following.streaming()
    const before = lsnOf(await savedLsn(store))
    for (let i = 0; i < 4; i++) {
      await client.query(
        `insert into private select i, repeat(md5(i::text), 30) from generate_series(1, 1500) i`,
      )
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
    await new Promise((resolve) => setTimeout(resolve, 1000))
    expect(lsnOf(await savedLsn(store)) - before).toBeGreaterThan(1024n * 1024n)
    const { rows } = await client.query(
      `select pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::float8 as lag from pg_replication_slots`,
    )
    expect(rows[0].lag).toBeLessThan(3 * 1024 * 1024)
    expect(following.count('retrying')).toBe(0)
    await apply(following, 'insert into t values (2)')
    await expectEqual('t')
  })

  it('D40: warns of the log that its slot holds while it is away; lost at the cap, it stops or copies again, never silently', async () => {
    await client.query(`alter system set max_slot_wal_keep_size = '6MB'`)
    await client.query('select pg_reload_conf()')
    await client.query(`create table t (id int primary key, body text);
      alter table t alter body set storage external; create publication published for table t;
      insert into t select i, 'body' from generate_series(1, 50) i`)
    const first = follow()
    await first.streaming()
    await apply(first, 'delete from t where id = 50')
    await first.stop()

    const watching = new AbortController()
    const seen: SlotStatus[] = []
    const warnings: SlotStatus[] = []
    const watch = watchSlot({ connectionString: url }, 'following', {
      warningBytes: 2 * 1024 * 1024,
      everyMs: 20,
      signal: watching.signal,
      onStatus: (status) => seen.push(status),
      onWarning: (status) => warnings.push(status),
    })
    const write = async () => {
      await client.query(`update t set body = repeat(md5(random()::text), 10000) where id <= 4`)
      await client.query(`delete from t where id = (select min(id) from t where id > 10)`)
      await client.query('checkpoint')
      await new Promise((resolve) => setTimeout(resolve, 60))
    }
    for (let i = 0; i < 40 && seen.at(-1)?.walStatus !== 'lost'; i++) await write()
    watching.abort()
    await watch
    const lags = seen.map(({ lagBytes }) => lagBytes).filter(Number.isFinite)
    expect(Math.max(...lags)).toBeGreaterThan(2 * 1024 * 1024)
    expect(warnings.length).toBeGreaterThan(0)
    // It warned while there was still time.
    expect(warnings[0]!.walStatus).not.toBe('lost')
    expect(seen.at(-1)!.walStatus).toBe('lost')

    const { position } = store
    await expect(follow().ended).rejects.toThrow(/slot was lost/)
    expect(store.position).toBe(position)
    const again = follow({ whenLost: 'copy', lagWarningBytes: 1 })
    await again.streaming()
    expect(again.events[0]).toMatchObject({
      type: 'copying',
      reason: expect.stringContaining('slot was lost'),
    })
    await apply(again, `insert into t values (100, 'after')`)
    await expectEqual('t')
    await client.query('alter system reset max_slot_wal_keep_size')
    await client.query('select pg_reload_conf()')
  })

  it('finds a slot that went on without this store: another reader, an older copy, dropped', async () => {
    await client.query('create table t (id int primary key); create publication published for table t')
    const first = follow()
    await first.streaming()
    await apply(first, 'insert into t values (1)')
    await first.stop()
    await client.query('insert into t values (2)')
    await slotIsFree()
    await client.query(`select pg_replication_slot_advance('following', pg_current_wal_lsn())`)
    await expect(follow().ended).rejects.toThrow('ahead of the store')
    await client.query(`select pg_drop_replication_slot('following')`)
    await expect(follow().ended).rejects.toThrow('slot is gone')
    const again = follow({ whenLost: 'copy' })
    await again.streaming()
    await expectEqual('t')
  })
})
