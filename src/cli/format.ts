import { isUtf8 } from 'node:buffer'

const PART_BLOCKS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'] as const
const BYTE_UNITS = ['KiB', 'MiB', 'GiB', 'TiB'] as const
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not reach a terminal raw
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f]/

export function formatCount(count: number): string {
  return count.toLocaleString('en-US')
}

/** `1 file`, `2 files`. */
export function plural(count: number, noun: string): string {
  const many = noun.endsWith('y')
    ? `${noun.slice(0, -1)}ies`
    : /(?:ch|sh)$/.test(noun)
      ? `${noun}es`
      : `${noun}s`
  return `${formatCount(count)} ${count === 1 ? noun : many}`
}

export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  let size = bytes / 1024
  let unit = 0
  while (size >= 1024 && unit < BYTE_UNITS.length - 1) {
    size /= 1024
    unit++
  }
  return `${size.toFixed(1)} ${BYTE_UNITS[unit]}`
}

export function formatDuration(ms: number): string {
  if (ms < 10) return `${ms.toFixed(1)} ms`
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`
}

/** Whole seconds, minutes or hours: `12 s`, `3 min 20 s`, `2 h 5 min`. */
export function formatTimeLeft(ms: number): string {
  const seconds = Math.max(0, Math.ceil(ms / 1000))
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  return `${formatCount(Math.floor(seconds / 3600))} h ${Math.floor((seconds % 3600) / 60)} min`
}

/** A bar of at most `width` columns, to an eighth of one. */
export function formatBar(value: number, max: number, width: number): string {
  const eighths = max <= 0 ? 0 : Math.round((8 * width * value) / max)
  const bar = '█'.repeat(Math.floor(eighths / 8)) + (PART_BLOCKS[eighths % 8] ?? '')
  // What is there is never shown as nothing.
  return bar === '' && value > 0 ? PART_BLOCKS[1]! : bar
}

export function formatRate(count: number, ms: number, unit: string): string {
  return `${formatCount(Math.round((count * 1000) / Math.max(ms, 0.001)))} ${unit}/s`
}

/** Lines with aligned columns, the first row being the head; numbers stand to the right. */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)))
  return rows.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '),
  )
}

/** For people: quoted text, or hexadecimal for what is no text. */
export function describeBytes(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (!isUtf8(buffer)) return `0x${buffer.toString('hex')}`
  const text = buffer.toString('utf8')
  return UNPRINTABLE.test(text) ? `0x${buffer.toString('hex')}` : JSON.stringify(text)
}

/** For programs: `{ [name]: text }`, or `{ [name + 'Base64']: … }` for bytes that are no UTF-8. */
export function jsonField(name: string, bytes: Uint8Array): Record<string, string> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return isUtf8(buffer)
    ? { [name]: buffer.toString('utf8') }
    : { [`${name}Base64`]: buffer.toString('base64') }
}
