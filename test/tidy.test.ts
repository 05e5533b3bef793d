import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'

/** A folder, or a file at the top, and its layer: imports go to lower layers, or stay in the folder. */
const LAYERS: Readonly<Record<string, number>> = {
  'errors.ts': 0,
  util: 1,
  env: 2,
  key: 3,
  cache: 3,
  iterator: 4,
  log: 5,
  memtable: 5,
  segment: 5,
  version: 6,
  compaction: 7,
  tree: 8,
  store: 9,
  access: 10,
  backup: 11,
  feed: 11,
  repair: 11,
  replication: 12,
  view: 12,
  'database.ts': 13,
  testing: 13,
  'testing.ts': 14,
  adapter: 14,
  'backup.ts': 14,
  'replication.ts': 14,
  'compare.ts': 14,
  'ingest.ts': 14,
  'streams.ts': 14,
  'metrics.ts': 14,
  cli: 15,
  'index.ts': 16,
}

/** Where something may be used that nowhere else may be. */
const BANS: readonly { readonly what: string; readonly pattern: RegExp; readonly allowed: RegExp }[] = [
  {
    what: 'node: imports',
    pattern: /from 'node:(?!zlib)/,
    allowed:
      /^(env|cli)\/|^streams\.ts$|^compaction\/worker-entry\.ts$|^replication\/(http-client|http-server|token)\.ts$/,
  },
  { what: 'node:zlib', pattern: /from 'node:zlib'/, allowed: /^util\/crc\.ts$/ },
  { what: 'the wall clock', pattern: /\bDate\.now\(|\bperformance\.now\(/, allowed: /^(env|cli)\// },
  { what: 'randomness', pattern: /\bMath\.random\(/, allowed: /^env\// },
  { what: 'timers', pattern: /\bset(Timeout|Interval|Immediate)\(/, allowed: /^(env|cli)\// },
  { what: 'threads', pattern: /new Worker\(/, allowed: /^env\// },
  { what: 'console', pattern: /\bconsole\./, allowed: /^cli\// },
  { what: 'process', pattern: /\bprocess\./, allowed: /^(env|cli)\// },
  { what: 'file writes past writeFully', pattern: /\bfile\.write\(|#file\.write\(/, allowed: /^env\// },
]
const TEXT_BANS = [/FIXME/, /\.only\(/, /export default/, /\bas any\b/, /@ts-ignore/, /export \*/]

const FILE_LINES_MAX = 500
const FUNCTION_LINES_MAX = 70
/** May only shrink. */
const LONG_FILES: readonly string[] = []
const LONG_FUNCTIONS: readonly string[] = []

interface Source {
  readonly path: string
  readonly text: string
  readonly imports: readonly string[]
  /** Files that are started by their address: a thread, a process. */
  readonly started: readonly string[]
}

function filesUnder(root: string): string[] {
  return readdirSync(root, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && /\.(ts|js)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.includes('node_modules'))
}

function targets(path: string, text: string, pattern: RegExp): string[] {
  const found = [...text.matchAll(pattern)].map((match) => normalize(join(dirname(path), match[1]!)))
  return found.filter((target) => target.endsWith('.js')).map((target) => target.replace(/\.js$/, '.ts'))
}

const sources: readonly Source[] = filesUnder('src').map((file) => {
  const path = file.slice('src/'.length)
  const text = readFileSync(file, 'utf8')
  const imports = targets(path, text, /(?:from|import)\s*\(?\s*'(\.[^']+)'/g)
  return { path, text, imports, started: targets(path, text, /new URL\('(\.[^']+)'/g) }
})

/** What the package exports or installs as a command. */
function entryPoints(): string[] {
  const { exports, bin } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    exports: Record<string, string | { default: string }>
    bin: Record<string, string>
  }
  const targets = [...Object.values(exports), ...Object.values(bin)]
  return targets
    .map((target) => (typeof target === 'string' ? target : target.default))
    .filter((path) => path.startsWith('./dist/'))
    .map((path) => path.replace('./dist/', '').replace(/\.js$/, '.ts'))
}

function layerOf(path: string): number {
  const layer = LAYERS[path.split('/')[0]!]
  if (layer === undefined) throw new Error(`${path} is in no layer`)
  return layer
}

describe('the structure of src', () => {
  it('has imports that only go down, or stay in their folder', () => {
    const upward = sources.flatMap(({ path, imports }) =>
      imports
        .filter((target) => dirname(target) !== dirname(path))
        .filter((target) => layerOf(target) >= layerOf(path))
        .map((target) => `${path} -> ${target}`),
    )
    expect(upward).toEqual([])
  })

  it('has no import cycle, types included', () => {
    const graph = new Map(sources.map(({ path, imports }) => [path, imports]))
    const done = new Set<string>()
    const cycles: string[] = []
    const visit = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path)) cycles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '))
      if (done.has(path) || trail.includes(path)) return
      for (const target of graph.get(path) ?? []) visit(target, [...trail, path])
      done.add(path)
    }
    for (const path of graph.keys()) visit(path, [])
    expect(cycles).toEqual([])
  })

  it('has no file that nothing reaches', () => {
    const reached = new Set<string>()
    const queue = entryPoints()
    for (let path = queue.pop(); path !== undefined; path = queue.pop()) {
      if (reached.has(path)) continue
      reached.add(path)
      const source = sources.find((candidate) => candidate.path === path)
      queue.push(...(source?.imports ?? []), ...(source?.started ?? []))
    }
    const dead = sources.map(({ path }) => path).filter((path) => !reached.has(path))
    expect(dead).toEqual([])
  })
})

describe('house rules', () => {
  it.each(BANS)('keep $what where it belongs', ({ pattern, allowed }) => {
    const found = sources.filter(({ path, text }) => pattern.test(text) && !allowed.test(path))
    expect(found.map(({ path }) => path)).toEqual([])
  })

  it('ban some text everywhere', () => {
    const files = [...filesUnder('src'), ...filesUnder('test')].filter((path) => path !== 'test/tidy.test.ts')
    const found = files.filter((path) => TEXT_BANS.some((ban) => ban.test(readFileSync(path, 'utf8'))))
    expect(found).toEqual([])
  })

  it(`keep files under ${FILE_LINES_MAX} lines`, () => {
    const files = [...filesUnder('src'), ...filesUnder('test'), ...filesUnder('bench')]
    const long = files.filter((path) => readFileSync(path, 'utf8').split('\n').length > FILE_LINES_MAX)
    expect(long).toEqual(LONG_FILES)
  })

  it(`keep functions under ${FUNCTION_LINES_MAX} lines`, () => {
    expect(sources.flatMap(longFunctions)).toEqual(LONG_FUNCTIONS)
  })

  it('document every public export', () => {
    const undocumented = sources
      .filter(
        ({ path }) =>
          [
            'database.ts',
            'backup.ts',
            'backup/contract.ts',
            'compare.ts',
            'ingest.ts',
            'replication.ts',
            'streams.ts',
            'metrics.ts',
            'errors.ts',
            'store/contract.ts',
            'key/encoding.ts',
          ].includes(path) || path.startsWith('testing/'),
      )
      .flatMap(({ path, text }) => {
        const exports = [
          ...text.matchAll(
            /(\*\/\n)?export (?:abstract )?(?:class|interface|function|async function) (\w+)/g,
          ),
        ]
        return exports.filter((match) => match[1] === undefined).map((match) => `${path}: ${match[2]}`)
      })
    expect(undocumented).toEqual([])
  })
})

function longFunctions({ path, text }: Source): string[] {
  const file = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const long: string[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body) {
      const start = file.getLineAndCharacterOfPosition(node.getStart()).line
      const lines = file.getLineAndCharacterOfPosition(node.end).line - start + 1
      if (lines > FUNCTION_LINES_MAX) long.push(`${path}:${start + 1} (${lines} lines)`)
    }
    ts.forEachChild(node, visit)
  }
  visit(file)
  return long
}
