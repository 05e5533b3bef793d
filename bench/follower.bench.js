// A follower in another process on loopback, under a leader that writes at a steady rate: how far it falls behind.
//
// node bench/follower.bench.js [--rate 200000] [--seconds 10] [--value 100]
import { fork } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { open } from '../dist/index.js'
import { openFollower, serveLog } from '../dist/replication.js'

const CLIENTS = 256
const SLICE_MS = 10

const { values } = parseArgs({
  options: {
    rate: { type: 'string', default: '200000' },
    seconds: { type: 'string', default: '10' },
    value: { type: 'string', default: '100' },
    follow: { type: 'string' },
    directory: { type: 'string' },
  },
})

if (values.follow) await runFollower(values.follow, values.directory)
else await runLeader(Number(values.rate), Number(values.seconds), Number(values.value))

async function runFollower(leader, directory) {
  const follower = await openFollower(directory, { leader, keyEncoding: 'buffer', valueEncoding: 'buffer' })
  process.send({ isReady: true })
  process.on('message', async ({ reach }) => {
    await follower.get(Buffer.from('x'), { atLeast: reach })
    const { user, system } = process.cpuUsage()
    process.send({ reached: follower.position, cpuMs: (user + system) / 1000 })
    await follower.close()
    process.disconnect()
  })
}

async function runLeader(rate, seconds, valueBytes) {
  const directory = mkdtempSync(join(tmpdir(), 'varve-follower-'))
  const leader = await open(join(directory, 'leader'), { keyEncoding: 'buffer', valueEncoding: 'buffer' })
  const server = await serveLog(leader)
  const args = ['--follow', server.url, '--directory', join(directory, 'follower')]
  const child = fork(new URL(import.meta.url), args)
  await new Promise((resolve) => child.once('message', resolve))
  let worstLag = 0
  const sampler = setInterval(() => {
    worstLag = Math.max(worstLag, server.followers[0]?.lag ?? 0)
  }, 100)
  const startMs = performance.now()
  await write(leader, rate, seconds, valueBytes)
  const writtenMs = performance.now() - startMs
  clearInterval(sampler)
  const lag = server.followers[0]?.lag ?? 0
  child.send({ reach: leader.position })
  const { cpuMs } = await new Promise((resolve) => child.once('message', resolve))
  const caughtUpMs = performance.now() - startMs - writtenMs
  const report = {
    putsPerSecond: Math.round((leader.position * 1000) / writtenMs),
    worstLag,
    lagAtEnd: lag,
    caughtUpMs: Math.round(caughtUpMs),
    followerCpuShare: Number((cpuMs / (writtenMs + caughtUpMs)).toFixed(2)),
  }
  console.log(JSON.stringify(report))
  await new Promise((resolve) => child.once('exit', resolve))
  await server.close()
  await leader.close()
  rmSync(directory, { recursive: true, force: true })
}

/** Puts in slices of time, each as many as are due, up to so many at once. */
async function write(db, rate, seconds, valueBytes) {
  const total = rate * seconds
  const value = Buffer.alloc(valueBytes, 'v')
  const startMs = performance.now()
  let done = 0
  while (done < total) {
    const due = Math.min(total, Math.floor(((performance.now() - startMs) / 1000) * rate))
    while (done < due) {
      const writes = []
      for (let i = 0; i < CLIENTS && done < due; i++, done++)
        writes.push(db.put(Buffer.from(`k${done}`), value))
      await Promise.all(writes)
    }
    await new Promise((resolve) => setTimeout(resolve, SLICE_MS / 10))
  }
}
