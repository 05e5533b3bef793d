import { spawnSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { open } from '../../src/database.js'
import { runMain } from './in-process.js'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'varve-cli-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

let directories = 0
const fresh = () => join(root, `store-${++directories}`)

interface Outcome {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

/** As a process of its own. */
function spawnVarve(
  args: readonly string[],
  input: string | Buffer = '',
): Outcome & { readonly bytes: Buffer } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { input, timeout: 20_000 })
  return { status, stdout: stdout.toString('utf8'), stderr: stderr.toString('utf8'), bytes: stdout }
}

function expectSuccess<T extends Outcome>(outcome: T): T {
  expect(outcome.stderr).toBe('')
  expect(outcome.status).toBe(0)
  return outcome
}

const varve = runMain

async function succeed(args: readonly string[], input: string | Buffer = '') {
  return expectSuccess(await varve(args, input))
}

function jsonLines<T>(text: string): T[] {
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T)
}

function dumpLine(key: Buffer, value: Buffer): string {
  return `${JSON.stringify({ key: key.toString('base64'), value: value.toString('base64') })}\n`
}

describe('put, get and del', () => {
  const spawnSucceed = (...call: Parameters<typeof spawnVarve>) => expectSuccess(spawnVarve(...call))
  const store = fresh()

  it('writes from the argument and from stdin, counting positions', () => {
    expect(spawnSucceed(['put', store, 'greeting', 'hello wörld']).stdout).toBe('1\n')
    expect(
      JSON.parse(spawnSucceed(['put', store, 'bytes', '--json'], Buffer.from([0, 255, 10])).stdout),
    ).toEqual({
      position: 2,
    })
    expect(spawnSucceed(['get', store, 'greeting']).stdout).toBe('hello wörld\n')
    expect([...spawnSucceed(['get', store, 'bytes']).bytes]).toEqual([0, 255, 10, 10])
    expect(spawnSucceed(['get', store, 'bytes', '--hex']).stdout).toBe('00ff0a\n')
  })

  it('writes what expires with its time, which get, tail, dump and load keep', () => {
    const from = fresh()
    const to = fresh()
    expect(spawnVarve(['put', from, 'k', 'v', '--ttl', '5 minutes']).status).toBe(2)
    const nowMs = Date.now()
    spawnSucceed(['put', from, 'k', 'v', '--ttl', '1.5h'])
    const { expiresAt } = JSON.parse(spawnSucceed(['get', from, 'k', '--json']).stdout) as {
      expiresAt: number
    }
    expect(Math.abs(expiresAt - nowMs - 5_400_000)).toBeLessThan(60_000)
    expect(jsonLines(spawnSucceed(['scan', from, '--json']).stdout)).toEqual([
      { key: 'k', value: 'v', expiresAt },
    ])
    const dumped = spawnSucceed(['dump', from]).stdout
    expect(dumped).toBe(`{"key":"aw==","value":"dg==","expiresAt":${expiresAt}}\n`)
    spawnSucceed(['load', to], dumped)
    expect(spawnSucceed(['dump', to]).stdout).toBe(dumped)
    expect(spawnSucceed(['tail', to, '--from', '1', '--json']).stdout).toContain(`"expiresAt":${expiresAt}`)
    expect(spawnVarve(['load', to], dumped.replace(String(expiresAt), '"soon"')).status).toBe(2)
  })

  it('takes keys in hexadecimal', () => {
    expect(spawnSucceed(['put', store, 'ff00', 'v', '--hex-key', '--durability', 'disk']).status).toBe(0)
    expect(JSON.parse(spawnSucceed(['get', store, 'FF00', '--hex-key', '--json']).stdout)).toEqual({
      keyBase64: '/wA=',
      value: 'v',
      position: 3,
    })
  })

  it('deletes, and says with its status that a key is not there', () => {
    expect(spawnSucceed(['del', store, 'greeting']).stdout).toBe('4\n')
    const missing = spawnVarve(['get', store, 'greeting'])
    expect(missing).toMatchObject({ status: 1, stdout: '', stderr: 'varve: key not found\n' })
  })
})

it('the other commands end by themselves, as processes', () => {
  const store = fresh()
  const inputs = new Map([['load', 'k\tv\n']])
  const calls = [
    ['load', store, '--tsv'],
    ['compact', store],
    ['checkpoint', store, fresh()],
    ['backup', store, fresh()],
    ['stats', store],
    ['log', store],
    ['manifest', store],
    ['consumers', store],
    ['verify', store],
    ['repair', store],
  ]
  for (const args of calls) expectSuccess(spawnVarve(args, inputs.get(args[0]!)))
})

describe('scan', () => {
  const store = fresh()
  beforeAll(async () => {
    await succeed(['load', store, '--tsv'], 'a1\tone\na2\ttwo\nb1\tthree\nb2\tfour\n')
  })

  it('prints ranges, forwards and backwards', async () => {
    expect((await succeed(['scan', store])).stdout).toBe('a1\tone\na2\ttwo\nb1\tthree\nb2\tfour\n')
    expect((await succeed(['scan', store, '--prefix', 'b', '--reverse'])).stdout).toBe(
      'b2\tfour\nb1\tthree\n',
    )
    expect((await succeed(['scan', store, '--gt', 'a1', '--lte', 'b1', '--keys'])).stdout).toBe('a2\nb1\n')
    expect(
      (await succeed(['scan', store, '--gte', 'a2', '--lt', 'b2', '--limit', '1', '--values'])).stdout,
    ).toBe('two\n')
  })

  it('prints JSON lines', async () => {
    expect(jsonLines((await succeed(['scan', store, '--json', '--prefix', 'a'])).stdout)).toEqual([
      { key: 'a1', value: 'one' },
      { key: 'a2', value: 'two' },
    ])
    expect(jsonLines((await succeed(['scan', store, '--json', '--keys', '--limit', '1'])).stdout)).toEqual([
      { key: 'a1' },
    ])
  })
})

describe('dump and load', () => {
  it('carries binary keys and values over, more than a batch of them', async () => {
    const lines = Array.from({ length: 2500 }, (_, i) =>
      dumpLine(Buffer.from([i >> 8, i & 255, 0, 9, 10]), Buffer.from([255, i & 255, 10, 0])),
    )
    lines.push(dumpLine(Buffer.from([0xff]), Buffer.alloc(0)))
    const file = join(root, 'lines.jsonl')
    writeFileSync(file, lines.join(''))
    const first = fresh()
    expect(JSON.parse((await succeed(['load', first, file, '--json'])).stdout)).toMatchObject({
      records: 2501,
      position: 3,
    })
    const dump = await succeed(['dump', first])
    expect(dump.stdout).toBe(lines.join(''))
    const second = fresh()
    expect((await succeed(['load', second], dump.bytes)).stdout).toMatch(
      /^loaded 2,501 records in .*records\/s.*position 3\n$/,
    )
    expect((await succeed(['dump', second])).stdout).toBe(dump.stdout)
  })

  it.each([
    ['not JSON', '{"key":'],
    ['no object', 'null'],
    ['a value that is no base64', '{"key":"YQ==","value":"a b"}'],
  ])('names the line that is wrong: %s', async (_, bad) => {
    const { status, stderr } = await varve(
      ['load', fresh()],
      `${dumpLine(Buffer.from('a'), Buffer.from('b'))}${bad}\n`,
    )
    expect(status).toBe(2)
    expect(stderr).toMatch(/^varve: line 2: /)
  })

  it('names the line without a tab', async () => {
    expect(await varve(['load', fresh(), '--tsv'], 'a\tb\nc\td\nno tab')).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^varve: line 3: no tab/),
    })
  })

  it('ends quietly when the reader has seen enough', async () => {
    const store = fresh()
    const lines = Array.from({ length: 5000 }, (_, i) =>
      dumpLine(Buffer.from(`${i}`), Buffer.alloc(200, 'x')),
    )
    await succeed(['load', store], lines.join(''))
    const command = `"${process.execPath}" "${MAIN}" dump "${store}" | head -n 1; echo "\${PIPESTATUS[0]}"`
    const { stdout, stderr } = spawnSync('bash', ['-c', command], { encoding: 'utf8' })
    expect(stderr).toBe('')
    expect(stdout).toMatch(/^\{"key":.*\}\n0\n$/)
  })
})

describe('upkeep', () => {
  const store = fresh()
  beforeAll(async () => {
    const lines = Array.from(
      { length: 3000 },
      (_, i) => `key${String(i).padStart(6, '0')}\t${'value '.repeat(20)}${i}`,
    )
    await succeed(['load', store, '--tsv'], lines.join('\n'))
  })

  it('makes a checkpoint that opens as a store', async () => {
    const target = fresh()
    expect((await succeed(['checkpoint', store, target])).stdout).toBe('3\n')
    expect((await succeed(['dump', target])).stdout).toBe((await succeed(['dump', store])).stdout)
  })

  it('prints the log, the manifest and a segment', async () => {
    const small = fresh()
    await succeed(['put', small, 'k', 'four'])
    await succeed(['del', small, 'k'])
    const log = jsonLines<{ file: string; position: number; ops: unknown[] }>(
      (await succeed(['log', small, '--json'])).stdout,
    )
    // The first write's log went when the second command recovered it: nothing asked to keep it.
    expect(log).toMatchObject([{ position: 2, ops: [{ type: 'del', key: 'k' }] }])
    expect(log[0]!.file).toMatch(/\d+\.log$/)
    expect((await succeed(['log', small, '--from', '3'])).stdout).toBe('')
    const text = (await succeed(['log', small])).stdout
    expect(text).toMatch(/^\d+\.log at \d+ {2}position 2 .*\n {2}del {2}"k"\n$/)
    const loaded = fresh()
    await succeed(['load', loaded, '--tsv'], Array.from({ length: 1001 }, (_, i) => `${i}\tv`).join('\n'))
    const positions = async (...args: string[]) =>
      jsonLines<{ position: number }>((await succeed(['log', loaded, '--json', ...args])).stdout).map(
        ({ position }) => position,
      )
    expect(await positions()).toEqual([1, 2])
    expect(await positions('--from', '2')).toEqual([2])
    expect(jsonLines((await succeed(['manifest', small, '--json'])).stdout).length).toBeGreaterThan(0)
    expect((await succeed(['manifest', small])).stdout).toContain('=')
  })

  it('compacts, verifies, and prints stats and the entries of a segment', async () => {
    await succeed(['compact', store])
    const name = segmentsOf(store)[0]!
    expect((await succeed(['verify', store])).stdout).toMatch(/^ok: \d+ segments?, /)
    expect(JSON.parse((await succeed(['verify', store, '--json'])).stdout)).toMatchObject({
      ok: true,
      entries: 3000,
    })
    const stats = JSON.parse((await succeed(['stats', store, '--json'])).stdout) as {
      levels: { entries: number }[]
    }
    expect(stats).toMatchObject({ position: 3, health: null })
    expect(stats.levels.reduce((sum, level) => sum + level.entries, 0)).toBe(3000)
    expect((await succeed(['stats', store])).stdout).toMatch(/level +segments +size +entries/)
    const lines = jsonLines((await succeed(['segment', store, name, '--keys', '--json'])).stdout)
    expect(lines[0]).toMatchObject({ file: expect.stringContaining(name), properties: expect.any(Object) })
    expect(lines[1]).toMatchObject({ key: 'key000000', kind: 'put', valueBytes: 121 })
    expect((await succeed(['segment', store, String(Number.parseInt(name, 10))])).stdout).toContain(name)
    expect((await succeed(['get', store, 'key002999'])).stdout).toBe(`${'value '.repeat(20)}2999\n`)
  })

  it('reports a damaged segment with its file and offset', async () => {
    const damaged = fresh()
    await succeed(['checkpoint', store, damaged])
    const name = segmentsOf(damaged)[0]!
    const file = join(damaged, name)
    const bytes = readFileSync(file)
    bytes[Math.floor(bytes.length / 3)]! ^= 0x40
    // A checkpoint shares its segments by hard link: a new file leaves the store's own as it is.
    rmSync(file)
    writeFileSync(file, bytes)
    const { status, stdout } = await varve(['verify', damaged])
    expect(status).toBe(1)
    expect(stdout).toContain(name)
    expect(stdout).toMatch(/offset {2}\d+/)
    const json = await varve(['verify', damaged, '--json'])
    expect(json.status).toBe(1)
    expect(JSON.parse(json.stdout)).toMatchObject({ ok: false, file: expect.stringContaining(name) })
    const dump = await varve(['dump', damaged])
    expect(dump.status).toBe(1)
    expect(dump.stderr).toMatch(/^varve: VARVE_CORRUPTION: .*\n$/)
    expect((await succeed(['verify', store])).stdout).toMatch(/^ok/)
  })
})

describe('wrong use ends with 2', () => {
  it.each([
    ['no command', []],
    ['an unknown command', ['frobnicate', 'x']],
    ['an unknown option', ['scan', root, '--frobnicate']],
    ['no directory', ['stats']],
    ['a limit that is no number', ['scan', root, '--limit', 'many']],
    ['two that contradict one another', ['scan', root, '--keys', '--values']],
    ['a durability that is none', ['put', root, 'k', 'v', '--durability', 'hope']],
    ['a key that is not hexadecimal', ['get', root, 'xyz', '--hex-key']],
    ['a file that is not there', ['load', join(root, 'never'), join(root, 'nothing.jsonl')]],
  ])('%s', async (_, args) => {
    const { status, stdout, stderr } = await varve(args)
    expect(status).toBe(2)
    expect(stdout).toBe('')
    expect(stderr).not.toBe('')
    expect(existsSync(join(root, 'never'))).toBe(false)
  })

  it.each([
    'get',
    'del',
    'scan',
    'dump',
    'stats',
    'verify',
    'compact',
    'checkpoint',
    'log',
    'segment',
    'manifest',
  ])('%s of a directory that is not there, which it does not make', async (command) => {
    const missing = join(root, 'missing')
    const more = ['get', 'del', 'checkpoint', 'segment'].includes(command) ? ['1'] : []
    const { status, stderr } = await varve([command, missing, ...more])
    expect(stderr).toBe(`varve: no such directory: ${missing}\n`)
    expect(status).toBe(2)
    expect(existsSync(missing)).toBe(false)
  })

  it('and help with 0', async () => {
    const { stdout } = await succeed(['--help'])
    expect(stdout).toContain('checkpoint')
    expect(stdout).not.toContain('demo-writer')
  })
})

function segmentsOf(directory: string): string[] {
  const names = readdirSync(directory)
    .filter((name) => name.endsWith('.seg'))
    .sort()
  expect(names.length).toBeGreaterThan(0)
  return names
}

describe('what a newcomer runs into', () => {
  it('verify names what only the log holds, and tail why it prints nothing', async () => {
    const directory = fresh()
    const db = await open(directory)
    await db.put('a', '1')
    await db.put('b', '2')
    const verified = (await succeed(['verify', directory])).stdout
    expect(verified).toBe(
      'ok: 0 segments, 0 blocks, 0 entries, 0 log files, 0 B; positions 1 to 2 of the log, checked in opening it\n',
    )
    await db.flush()
    await db.close()
    const tail = await varve(['tail', directory])
    expect(tail).toMatchObject({ status: 0, stdout: '' })
    expect(tail.stderr).toMatch(/^the log goes back to position 2, .*varve scan.*log: \{ maxBytes \}.*\n$/)
  })

  it('help of what is no command, a segment that is not there and text taken for a dump are named', async () => {
    expect(await varve(['help', 'scn'])).toMatchObject({
      status: 2,
      stderr: "varve: unknown command 'scn' (Did you mean scan?)\n",
    })
    const store = fresh()
    const text = '{"key":"a key","value":"b"}\n'
    expect(await varve(['load', store], text)).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('for text add --format ndjson') as string,
    })
    expect((await succeed(['load', store, '--format', 'ndjson'], text)).stdout).toMatch(
      /\(.*records\/s\), position 1\n/,
    )
    expect((await succeed(['load', store], dumpLine(Buffer.from('a'), Buffer.from('b')))).stdout).toContain(
      ' as dump, ',
    )
    expect(await varve(['segment', store, '1'])).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/^varve: no segment 000001\.seg in .*: there is \d+\.seg/) as string,
    })
  })

  it('keys that are tuples are written as JSON arrays, and values that are JSON must be', async () => {
    const store = fresh()
    const options = { keyEncoding: 'tuple', valueEncoding: 'json' } as const
    const db = await open<unknown[], unknown>(store, options)
    await db.put(['a', 1], { x: 1 })
    await db.put(['a', 2n ** 70n + 1n, Buffer.from([0, 255]), Number.NEGATIVE_INFINITY, null], 2)
    await db.close()
    const odd = '["a",{"bigint":"1180591620717411303425"},{"base64":"AP8="},{"number":"-Infinity"},null]'
    expect((await succeed(['scan', store])).stdout).toBe(`["a",1]\t{"x":1}\n${odd}\t2\n`)
    expect((await succeed(['get', store, odd])).stdout).toBe('2\n')
    expect(await varve(['get', store, 'a'])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining(`the keys of this store are tuples: write '["a",1]'`) as string,
    })
    expect(await varve(['put', store, '["a",10]', 'text'])).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('the values of this store are JSON, and this is none') as string,
    })
    await succeed(['put', store, '["a",10]', '"text"'])
    const last = (await succeed(['tail', store, '--prefix', '["a",10]'])).stdout
    expect(last).toMatch(/^position 3 {2}.* 1 op\n {2}put {2}\["a",10\] {2}6 B\n$/)
    await succeed(['del', store, odd])
    const ops = jsonLines<{ ops: unknown[] }>((await succeed(['tail', store, '--json'])).stdout).flatMap(
      (line) => line.ops,
    )
    expect(ops.at(-1)).toMatchObject({ type: 'del', key: JSON.parse(odd) as unknown })
    const json = (await succeed(['scan', store, '--json', '--prefix', '["a"]'])).stdout
    expect(jsonLines<{ key: unknown }>(json).map(({ key }) => key)).toEqual([
      ['a', 1],
      ['a', 10],
    ])
    const copy = fresh()
    await succeed(['load', copy, '--format', 'ndjson'], json)
    const copied = await open<unknown[], unknown>(copy, { ...options, readOnly: true })
    expect(await copied.entries().all()).toEqual([
      [['a', 1], { x: 1 }],
      [['a', 10], 'text'],
    ])
    await copied.close()
  })

  it.runIf(existsSync('/dev/full'))('an output that cannot be written is one line and a status', async () => {
    const store = fresh()
    await succeed(['put', store, 'a', '1'])
    const full = openSync('/dev/full', 'w')
    const { status, stderr } = spawnSync(process.execPath, [MAIN, 'scan', store], {
      stdio: ['ignore', full, 'pipe'],
      encoding: 'utf8',
    })
    closeSync(full)
    expect(status).toBe(1)
    expect(stderr).toMatch(/^varve: writing the output: ENOSPC: .*\n$/)
  })
})
