import { cpus, release, totalmem, type } from 'node:os'
import { ROWS } from './rows.js'

const isOwn = (engine) => engine.startsWith('varve')
const REFERENCE = 'classic-level'
/** No engines but limits: of each row, and of reads that keep to the same memory. */
const LIMITS = ['bare', 'packed']

/** Minimum, median and maximum of each row and engine, and Varve's multiples. `runs` is a list of
 *  `{ engine, figures }`, one for each engine and round. */
export function summarize(runs) {
  const engines = [...new Set(runs.map((run) => run.engine))]
  return ROWS.map((row) => {
    const spreads = {}
    for (const engine of engines) {
      const figures = runs.filter((run) => run.engine === engine).map((run) => run.figures[row.id])
      spreads[engine] = spread(figures.filter((figure) => figure !== undefined))
    }
    // The aims are those of the store itself.
    const aim = engines.includes('varve') ? row.aim : undefined
    return { ...row, aim, spreads, ...multiples({ ...row, aim }, spreads) }
  })
}

function spread(figures) {
  if (figures.length === 0) return undefined
  const sorted = figures.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
  return { min: sorted[0], median, max: sorted.at(-1) }
}

function multiples(row, spreads) {
  const own = Object.entries(spreads).find(([engine]) => isOwn(engine))?.[1]?.median
  const natives = Object.entries(spreads).filter(
    ([engine, figures]) => !isOwn(engine) && !LIMITS.includes(engine) && figures,
  )
  const ofLimits = LIMITS.map((limit) => (row.bytes ? undefined : own / spreads[limit]?.median))
  if (own === undefined || natives.length === 0) return { ofLimits }
  const multiple = (native) => (row.bytes ? native / own : own / native)
  const ordered = natives
    .map(([engine, { median }]) => ({ engine, multiple: multiple(median) }))
    .sort((a, b) => a.multiple - b.multiple)
  const best = ordered[0]
  return {
    best,
    ofLimits,
    reference: ordered.find(({ engine }) => engine === REFERENCE)?.multiple,
    below: row.aim !== undefined && best.multiple < row.aim,
  }
}

/** The table as text, each cell `min/median/max`. */
export function textTable(rows, engines) {
  const lines = cells(rows, engines, (figures, row) => {
    const values = [figures.min, figures.median, figures.max]
    if (figures.min === figures.max) return short(figures.median, row)
    return values.map((value) => short(value, row)).join('/')
  })
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)))
  return lines
    .map((line) =>
      line
        .map((cell, column) => pad(cell, widths[column], column))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function pad(cell, width, column) {
  return column === 0 ? cell.padEnd(width) : cell.padStart(width)
}

/** The table in markdown, each cell the median and, of more rounds than one, the range. */
export function markdownTable(rows, engines) {
  const [head, ...body] = cells(rows, engines, (figures, row) => {
    if (figures.min === figures.max) return full(figures.median, row)
    return `${full(figures.median, row)} (${short(figures.min, row)}–${short(figures.max, row)})`
  })
  const rule = head.map((_, column) => (column === 0 ? '---' : '---:'))
  return [head, rule, ...body].map((line) => `| ${line.join(' | ')} |`).join('\n')
}

function cells(rows, engines, format) {
  const compared = rows.some((row) => row.best)
  const limits = LIMITS.map((_, i) => i).filter((i) => rows.some((row) => row.ofLimits[i] > 0))
  const head = ['workload', ...engines, ...limits.map((i) => `of ${LIMITS[i]}`)]
  if (compared) head.push(`× ${REFERENCE}`, '× best native', 'aim', '')
  const body = rows.map((row) => {
    const line = [row.title]
    for (const engine of engines) line.push(row.spreads[engine] ? format(row.spreads[engine], row) : '–')
    for (const i of limits) line.push(row.ofLimits[i] > 0 ? `${Math.round(row.ofLimits[i] * 100)} %` : '–')
    if (compared) line.push(times(row.reference), times(row.best?.multiple), times(row.aim), mark(row))
    return line
  })
  return [head, ...body]
}

function mark(row) {
  return row.below ? '◄ below' : ''
}

function times(multiple) {
  return multiple === undefined ? '–' : `${multiple.toFixed(2)}×`
}

function full(figure, row) {
  return row.bytes ? `${(figure / 1e6).toFixed(1)} MB` : Math.round(figure).toLocaleString('en-US')
}

function short(figure, row) {
  if (row.bytes) return `${(figure / 1e6).toFixed(1)}M`
  if (figure >= 1e6) return `${(figure / 1e6).toFixed(2)}M`
  if (figure >= 1e5) return `${Math.round(figure / 1e3)}k`
  return figure >= 1e4 ? `${(figure / 1e3).toFixed(1)}k` : String(Math.round(figure))
}

/** The one line to look at: where Varve stands worst. Rows without an aim are left out. */
export function lowestLine(rows) {
  const compared = rows.filter((row) => row.best && row.aim !== undefined)
  if (compared.length === 0)
    return 'lowest ratio to the best native: none, since varve or every native engine is missing'
  const lowest = compared.reduce((low, row) => (row.best.multiple < low.best.multiple ? row : low))
  return `lowest ratio to the best native: ${times(lowest.best.multiple)} in "${lowest.title}" (${lowest.best.engine})`
}

export function machine() {
  const processors = cpus()
  return {
    cpu: processors[0]?.model ?? 'unknown',
    cores: processors.length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    kernel: `${type()} ${release()}`,
    node: process.version,
  }
}
