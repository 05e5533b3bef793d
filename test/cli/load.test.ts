import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, describe, expect, it } from 'vitest'
import { type CsvColumns, csvSource } from '../../src/cli/load-csv.js'
import { hexDumpParser, type LoadSource, lineSource, parseNdjsonLine } from '../../src/cli/load-source.js'
import { versionSource } from '../../src/cli/load-versions.js'
import { open } from '../../src/index.js'

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url))
const root = mkdtempSync(join(tmpdir(), 'varve-cli-load-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

function varve(args: readonly string[], input: string | Buffer = '') {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { input, encoding: 'utf8' })
  return { status, stdout, stderr }
}

/** What a source makes of an input that comes in pieces of `pieceBytes`, as text. */
async function read(source: LoadSource, input: string | Buffer, pieceBytes = 7): Promise<string[]> {
  const bytes = Buffer.from(input)
  async function* pieces() {
    for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes)
  }
  const found: string[] = []
  for await (const ops of source(pieces())) {
    for (const op of ops)
      found.push(
        op.type === 'put' ? `${op.key.toString('latin1')}=${op.value.toString('latin1')}` : `-${op.key}`,
      )
  }
  return found
}

describe('dump and load together', () => {
  it('are the identity: any bytes, no bytes, values of ten megabytes, typed keys', async () => {
    const from = join(root, 'from')
    const db = await open<Buffer, Buffer>(from, { keyEncoding: 'buffer', valueEncoding: 'buffer' })
    await db.put(Buffer.alloc(0), Buffer.alloc(0))
    await db.put(Buffer.alloc(65_535, 0xff), Buffer.from('the longest key'))
    await db.put(Buffer.from('big'), Buffer.alloc(10_000_000, 'a value of ten megabytes '))
    for (let i = 0; i < 256; i++) await db.put(Buffer.of(i), Buffer.of(i, 10, 0, 255 - i))
    await db.put(Buffer.from('gone'), Buffer.from('1'))
    await db.del(Buffer.from('gone'))
    const typed = db.withEncodings<[string, number], { n: number }>({
      keyEncoding: 'tuple',
      valueEncoding: 'json',
    })
    for (const n of [-1.5, 0, 1e300]) await typed.put(['tuple', n], { n })
    const expected = await hashOf(db)
    await db.close()

    const command = `"${process.execPath}" "${MAIN}" dump from | "${process.execPath}" "${MAIN}" load to --json`
    const { stdout, stderr } = spawnSync('bash', ['-o', 'pipefail', '-c', command], {
      cwd: root,
      encoding: 'utf8',
    })
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toMatchObject({ records: 262 })
    const copy = await open<Buffer, Buffer>(join(root, 'to'), {
      keyEncoding: 'buffer',
      valueEncoding: 'buffer',
    })
    expect(await hashOf(copy)).toBe(expected)
    await copy.close()
  })

  async function hashOf(db: Awaited<ReturnType<typeof open<Buffer, Buffer>>>): Promise<string> {
    const hash = createHash('sha256')
    for await (const [key, value] of db.entries()) {
      hash.update(`${key.length} ${value.length} `)
      hash.update(key)
      hash.update(value)
    }
    return hash.digest('hex')
  }
})

describe('CSV', () => {
  const columns: CsvColumns = { key: undefined, value: undefined, hasHeader: true, delimiter: ',' }

  it('takes quoted commas, quotes and line ends, a byte order mark and both kinds of line ends', async () => {
    const text = '\ufeffid,text\r\n1,"a, ""b""\r\nc"\r\n2,plain\n\n"3",\n'
    expect(await read(csvSource(columns), text)).toEqual(['1=a, "b"\r\nc', '2=plain', '3='])
  })

  it('keeps bytes that are no UTF-8', async () => {
    expect(await read(csvSource(columns), Buffer.from('k,v\na,\xff\xfe\n', 'latin1'))).toEqual(['a=\xff\xfe'])
  })

  it('makes JSON of the other columns, and takes columns by name and by number', async () => {
    const text = 'name,id,n\nOslo,7,1\n'
    expect(await read(csvSource({ ...columns, key: 'id' }), text)).toEqual(['7={"name":"Oslo","n":"1"}'])
    expect(await read(csvSource({ ...columns, key: '2', value: 'name' }), text)).toEqual(['7=Oslo'])
    const bare = { ...columns, hasHeader: false, delimiter: ';' }
    expect(await read(csvSource({ ...bare, key: '2' }), 'a;b\nc;d\n')).toEqual(['b=a', 'd=c'])
  })

  it.each([
    ['a quote that is not closed', 'k,v\n1,"open\n2,3\n', /Quote Not Closed.*line/],
    ['a row of another length', 'k,v\n1,2,3\n', /expect 2, got 3 on line 2/],
    ['text after a quote', 'k,v\n1,"2"3\n', /Closing Quote.*line 2/],
    ['a quote inside', 'k,v\n1,ab"c\n', /Opening Quote.*line 2$/],
  ])('names the line of %s', async (_, text, message) => {
    await expect(read(csvSource(columns), text)).rejects.toThrow(message)
  })

  it('goes through the command, which guesses the format from the name', () => {
    const file = join(root, 'cities.csv')
    writeFileSync(file, 'id,name,country\n1,Oslo,no\n2,"Bergen, the rainy",no\n')
    const store = join(root, 'csv')
    expect(varve(['load', store, file, '--key-column', 'name']).stdout).toMatch(/^loaded 2 records/)
    expect(varve(['get', store, 'Bergen, the rainy']).stdout).toBe('{"id":"2","country":"no"}\n')
    expect(varve(['load', store, file, '--key-column', 'nme'])).toEqual({
      status: 2,
      stdout: '',
      stderr: 'varve: no column nme; there are id, name, country\n',
    })
    expect(varve(['load', store, '--delimiter', ';'])).toMatchObject({
      status: 2,
      stderr: 'varve: columns, header and delimiter are of CSV, not of dump: add --format csv\n',
    })
  })
})

describe('JSON lines', () => {
  const source = lineSource(() => parseNdjsonLine)

  it('are what scan --json prints, and what others write', async () => {
    const lines = [
      '{"key":"a","value":"text"}',
      '{"keyBase64":"/w==","valueBase64":"AP8="}',
      '{"key":"b","value":{"n":1}}',
      '',
    ]
    expect(await read(source, lines.join('\n'))).toEqual(['a=text', '\xff=\x00\xff', 'b={"n":1}'])
  })

  it.each([
    ['{"value":1}', 'line 2: neither "key" as text nor "keyBase64"'],
    ['{"key":"a"}', 'line 2: neither "value" nor "valueBase64"'],
    ['[1]', 'line 2: no JSON object'],
    ['{"key":"a","value', 'line 2: not JSON; "{\\"key\\":\\"a\\",\\"value"'],
  ])('%s is named', async (line, message) => {
    await expect(read(source, `{"key":"k","value":1}\n${line}\n`)).rejects.toThrow(message)
  })
})

describe('what ldb of RocksDB prints', () => {
  const source = lineSource(hexDumpParser)

  it('is read in hexadecimal, as dump and scan print it, and counted', async () => {
    const text = '0x61 ==> 0x00FF\n0x ==> 0x\n0x62 : 0x62\nKeys in range: 3\n'
    expect(await read(source, text)).toEqual(['a=\x00\xff', '=', 'b=b'])
  })

  it.each([
    ['0x61 ==> 0x0\n', 'line 1: an odd number'],
    ['plain ==> text\n', 'line 1: not 0x… ==> 0x…: make it with ldb dump --hex'],
    ['0x61 ==> 0x00\nKeys in range: 2\n', 'line 2: 2 keys were dumped, 1 came'],
  ])('%j is refused', async (text, message) => {
    await expect(read(source, text)).rejects.toThrow(message)
  })
})

describe('what leveldbutil prints', () => {
  const source = versionSource(join(root, 'target'))

  it('is sorted by sequence: the newest of a key counts, in whatever order tables and logs come', async () => {
    const newTable = "'a' @ 9 : val => 'new'\n'a' @ 3 : val => 'old'\n'b' @ 8 : del => ''\n"
    const oldTable = "'a' @ 1 : val => 'oldest'\n'b' @ 2 : val => 'x'\n'c\\x00\\xff' @ 4 : val => '\\x0a'\n"
    const log =
      "--- offset 0; sequence 10\n  put 'd' 'it's'\n  del 'a'\n--- offset 30; sequence 12\n  put 'a' 'newest'\n"
    for (const text of [newTable + oldTable + log, log + oldTable + newTable]) {
      const state = new Map<string, string>()
      for (const op of await read(source, text)) {
        if (op.startsWith('-')) state.delete(op.slice(1))
        else state.set(op.slice(0, op.indexOf('=')), op.slice(op.indexOf('=') + 1))
      }
      expect(Object.fromEntries(state)).toEqual({ a: 'newest', 'c\x00\xff': '\n', d: "it's" })
    }
    expect(readdirSync(root).filter((name) => name.startsWith('.varve-load-'))).toEqual([])
  })

  it('leaves a backslash alone that cannot have been made by it', async () => {
    expect(await read(source, "'C:\\x41' @ 1 : val => '\\x7f\\'\n")).toEqual(['C:\\x41=\x7f\\'])
  })

  it('takes what ldb idump and sst_dump print in hexadecimal', async () => {
    const text =
      "'61' seq:0, type:1 => 00FF\n'62' seq:0, type:1 => \n'61' seq:5, type:0 => \nInternal keys in range: 3\n"
    expect(await read(source, text)).toEqual(['a=\x00\xff', 'b=', '-a'])
  })

  it.each([
    ["'a' @ 1 : val => '' @ 2 : val => ''\n", /line 1: can be read in two ways/],
    ["--- offset 0; sequence 1\n  put 'a' 'b' 'c'\n", /line 2: can be read in two ways/],
    ["'61' seq:1, type:2 => 00\n", /line 1: an entry of type 2, such as a merge/],
    ['corruption: 5 bytes; checksum mismatch\n', /line 1: neither of leveldbutil dump nor/],
  ])('%j is refused, and nothing is left behind', async (text, message) => {
    await expect(read(source, text)).rejects.toThrow(message)
    expect(readdirSync(root).filter((name) => name.startsWith('.varve-load-'))).toEqual([])
  })

  it('comes from many files at once through the command, and what is wrong is named with its file elsewhere', () => {
    const [a, b] = [join(root, 'a.txt'), join(root, 'b.txt')]
    writeFileSync(a, "'k' @ 7 : val => 'new'")
    writeFileSync(b, "'k' @ 6 : val => 'old'")
    const store = join(root, 'leveldb')
    expect(varve(['load', store, a, b, '--format', 'leveldb']).status).toBe(0)
    expect(varve(['get', store, 'k']).stdout).toBe('new\n')
    writeFileSync(a, 'k1\tv')
    writeFileSync(b, 'k2')
    expect(varve(['load', store, a, b, '--tsv'])).toEqual({
      status: 2,
      stdout: '',
      stderr: `varve: ${b}: line 1: no tab; 1 record loaded before\n`,
    })
    expect(readFileSync(a, 'utf8')).toBe('k1\tv')
  })
})
