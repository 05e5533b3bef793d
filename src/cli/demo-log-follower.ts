import { join } from 'node:path'
import { compare } from '../compare.js'
import { type Database, open } from '../database.js'
import { VarveError } from '../errors.js'
import { type Follower, type LogServer, openFollower, serveLog } from '../replication.js'
import { claim, note, section } from './demo-report.js'
import { formatCount } from './format.js'

const BATCH_RECORDS = 100
const BATCHES = 200

/** A follower is cut off, goes on where it was, and takes over; the old leader comes back and is told where it parted. */
export async function showFollower(directory: string): Promise<void> {
  section('A follower')
  const paths = { leader: join(directory, 'leader'), follower: join(directory, 'follower') }
  const opened: { close(): Promise<void> }[] = []
  const keep = <T extends { close(): Promise<void> }>(resource: T): T => {
    opened.unshift(resource)
    return resource
  }
  try {
    const leader = keep(await open(paths.leader))
    const { follower, server } = await cutAndResume(leader, paths.follower, keep)
    await failOver(leader, server, follower, paths.leader, keep)
  } finally {
    for (const resource of opened) await resource.close()
  }
}

type Keep = <T extends { close(): Promise<void> }>(resource: T) => T

async function cutAndResume(
  leader: Database,
  path: string,
  keep: Keep,
): Promise<{ follower: Follower; server: LogServer }> {
  await write(leader, 'before')
  const server = await serveLog(leader)
  const port = Number(new URL(server.url).port)
  const follower = keep(await openFollower<string, string>(path, { leader: server.url }))
  await follower.get('', { atLeast: leader.position })
  claim(follower.position === leader.position, `follows up to position ${formatCount(leader.position)}`)
  claim(
    (await codeOf(() => follower.put('key', 'value'))) === 'VARVE_NOT_LEADER',
    'takes no writes itself: VARVE_NOT_LEADER',
  )
  await server.close()
  await write(leader, 'while it is cut off')
  const behind = leader.position - follower.position
  claim(
    follower.position < leader.position && (await follower.get('while it is cut off 0')) === undefined,
    `cut off, it stands still and goes on answering, ${formatCount(behind)} positions behind`,
  )
  const again = keep(await serveLog(leader, { port }))
  await follower.get('', { atLeast: leader.position })
  claim(
    (await compare(leader, follower)) === undefined,
    `reached again, it goes on at its own position; compare() finds every batch there once, in order`,
  )
  return { follower, server: again }
}

/** @param server the leader's, through which it would be told that it is one no longer. */
async function failOver(
  leader: Database,
  server: LogServer,
  follower: Follower,
  path: string,
  keep: Keep,
): Promise<void> {
  const shared = leader.position
  await server.close()
  await follower.promote()
  await write(follower, 'new leader')
  claim(
    follower.position > shared,
    `promoted, it takes writes: ${formatCount(BATCHES * BATCH_RECORDS)} of them`,
  )
  await leader.put('lost', 'written by the old leader, seen by nobody')
  note('meanwhile the old leader, cut off, took a write that nobody else ever saw')
  await leader.close()
  const newServer = keep(await serveLog(follower))
  const refusal = await failureOf(() => openFollower(path, { leader: newServer.url }))
  claim(
    refusal?.code === 'VARVE_DIVERGED' && refusal.position === shared + 1,
    `back as a follower it is told where it parted: VARVE_DIVERGED at position ${formatCount(refusal?.position ?? 0)}`,
  )
  const rejoined = keep(
    await openFollower<string, string>(path, { leader: newServer.url, onDiverged: 'rebuild' }),
  )
  await rejoined.get('', { atLeast: follower.position })
  claim(
    (await compare(follower, rejoined)) === undefined && (await rejoined.get('lost')) === undefined,
    'rebuilt from the new leader it is equal',
  )
  const aside = await open(`${path}.diverged-${shared + 1}`, { readOnly: true, createIfMissing: false })
  try {
    claim((await aside.get('lost')) !== undefined, 'and the lost write is kept beside it, not thrown away')
  } finally {
    await aside.close()
  }
}

async function write(store: Database, name: string): Promise<void> {
  for (let batch = 0; batch < BATCHES; batch++) {
    await store.batch(
      Array.from({ length: BATCH_RECORDS }, (_, i) => {
        return { type: 'put' as const, key: `${name} ${batch * BATCH_RECORDS + i}`, value: `record ${i}` }
      }),
    )
  }
}

async function codeOf(action: () => Promise<unknown>): Promise<string | undefined> {
  return (await failureOf(action))?.code
}

async function failureOf(action: () => Promise<unknown>): Promise<VarveError | undefined> {
  try {
    await action()
    return undefined
  } catch (error) {
    if (error instanceof VarveError) return error
    throw error
  }
}
