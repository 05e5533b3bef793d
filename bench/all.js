/** Runs every benchmark, one after another, and writes what they print to one file of markdown: bench/RESULTS.md. */
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { machine } from './peers/report.js'

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: fileURLToPath(new URL('RESULTS.md', import.meta.url)) },
    /** A small run of everything, to see that it works. */
    small: { type: 'boolean', default: false },
    only: { type: 'string' },
    minutes: { type: 'string', default: '60' },
  },
})
const endMs = performance.now() + Number(values.minutes) * 60_000

/** What is missed least comes last: the time may be up before it. `small` replaces the arguments. */
const SECTIONS = [
  {
    title: 'Against the native engines: 500,000 entries of 16 + 100 bytes',
    script: 'peers/run.js',
    args: ['--markdown', '--rounds', '3', '--budget', '600'],
    small: ['--markdown', '--quick', '--entries', '5000'],
  },
  {
    title: 'Against the native engines: 200,000 entries of 16 + 1,000 bytes',
    script: 'peers/run.js',
    args: ['--markdown', '--rounds', '1', '--budget', '1000', '--entries', '200000', '--value-bytes', '1000'],
    small: ['--markdown', '--quick', '--entries', '2000', '--value-bytes', '1000'],
  },
  {
    title: 'Against the native engines: 5,000,000 entries of 16 + 100 bytes',
    script: 'peers/run.js',
    args: ['--markdown', '--rounds', '1', '--budget', '600', '--entries', '5000000'],
    small: ['--markdown', '--quick', '--entries', '20000'],
  },
  { title: 'Limits', script: 'limits.js', args: [], small: [] },
  { title: 'The parts of a write', script: 'write.bench.js', args: [], small: ['--small'] },
  { title: 'The parts of a read', script: 'read.bench.js', args: [], small: ['--small'] },
  { title: 'The parts of a scan', script: 'scan.bench.js', args: [], small: ['--small'] },
  {
    title: 'A sustained load of 5 million single puts, leveled',
    script: 'sustained.js',
    args: [],
    small: ['--entries', '100000'],
  },
  {
    title: 'A sustained load of 5 million single puts, tiered',
    script: 'sustained.js',
    args: ['--compaction', 'tiered'],
    small: ['--entries', '100000', '--compaction', 'tiered'],
  },
  {
    title: 'A load of 10 million entries with 128 MiB of memory',
    script: 'load.js',
    args: ['--entries', '10000000', '--memory', '128'],
    small: ['--entries', '100000', '--memory', '16'],
  },
  {
    title: 'Opening, a queue, overwrites',
    script: 'lifecycle.js',
    args: [],
    small: ['--operations', '100000'],
  },
  { title: 'utf8 beside buffers', script: 'encodings.js', args: [], small: ['--entries', '20000'] },
  {
    title: 'Large values: apart from their keys, beside them, and classic-level',
    script: 'blobs.bench.js',
    args: [],
    small: ['--small'],
  },
  {
    title: 'How cost grows',
    script: 'growth.js',
    args: [],
    small: ['--sizes', '10000,20000', '--svg', 'none'],
  },
  {
    title: 'YCSB',
    script: 'ycsb.js',
    args: [],
    small: ['--records', '5000', '--budget', '200', '--warm-up', '50'],
  },
]

/** What a script prints; killed when the time is up. */
function run(script, args) {
  const path = fileURLToPath(new URL(script, import.meta.url))
  const child = spawn(process.execPath, ['--expose-gc', path, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const limit = setTimeout(() => child.kill('SIGTERM'), Math.max(1000, endMs - performance.now()))
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (part) => {
    text += part
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      clearTimeout(limit)
      const ending = code === 0 ? '' : `\n(ended early with ${signal ?? `status ${code}`})\n`
      resolve(text.trimEnd() + ending)
    })
  })
}

/** Tables and lists as they are; plain lines as a block. */
function asMarkdown(text) {
  return text.includes('| ---') ? text : `\`\`\`\n${text}\n\`\`\``
}

const { cpu, cores, memoryGiB, kernel, node } = machine()
const done = [
  '# Figures',
  `\`node bench/all.js\`, ${new Date().toISOString().slice(0, 10)}; ${cpu}, ${cores} cores, ${memoryGiB} GiB, ${kernel}, Node ${node}.`,
]
const sections = SECTIONS.filter(({ script }) => !values.only || values.only.split(',').includes(script))
for (const { title, script, args, small } of sections) {
  const used = values.small ? small : args
  const start = performance.now()
  const text = performance.now() < endMs ? await run(script, used) : '(no time was left)'
  console.error(`${title}: ${((performance.now() - start) / 1000).toFixed(0)} s`)
  done.push(`## ${title}`, `\`node bench/${[script, ...used].join(' ')}\``, asMarkdown(text))
  // After each, so that nothing is lost when this is stopped.
  writeFileSync(values.out, `${done.join('\n\n')}\n`)
}
