import { CsvError, parse } from 'csv-parse'
import { UsageError } from './failure.js'
import { BadInput, type LoadOp, type LoadSource, toStream } from './load-source.js'

/** Rows that go to the store at once. */
const ROWS_MAX = 500

/** Which column is what: by the name in the first row, or by its number from 1 on. */
export interface CsvColumns {
  readonly key: string | undefined
  readonly value: string | undefined
  readonly hasHeader: boolean
  readonly delimiter: string
}

/**
 * Comma-separated rows, quoted as in RFC 4180. The key is the first column, unless told. The value is the column that
 * was named, or the other one of two; where there are more it is a JSON object of all the others.
 */
export function csvSource(columns: CsvColumns): LoadSource {
  return async function* (chunks) {
    const parser = parse({
      encoding: null,
      bom: true,
      delimiter: columns.delimiter,
      record_delimiter: ['\r\n', '\n'],
      skip_empty_lines: true,
    })
    const input = toStream(chunks)
    // Whoever reads the parser learns of an input that fails.
    input.on('error', (error) => parser.destroy(error))
    let toOp: ((row: readonly Buffer[]) => LoadOp) | undefined
    let ops: LoadOp[] = []
    try {
      for await (const row of input.pipe(parser) as AsyncIterable<Buffer[]>) {
        if (toOp === undefined) {
          toOp = rowReader(row, columns)
          if (columns.hasHeader) continue
        }
        ops.push(toOp(row))
        if (ops.length < ROWS_MAX) continue
        yield ops
        ops = []
      }
    } catch (error) {
      if (ops.length > 0) yield ops
      throw error instanceof CsvError ? new BadInput(describeCsvError(error)) : error
    } finally {
      input.destroy()
      parser.destroy()
    }
    if (ops.length > 0) yield ops
  }
}

function rowReader(first: readonly Buffer[], columns: CsvColumns): (row: readonly Buffer[]) => LoadOp {
  const names = columns.hasHeader ? first.map((name) => name.toString('utf8')) : undefined
  const key = columns.key === undefined ? 0 : indexOf(columns.key, names, first.length)
  if (first.length < 2) throw new UsageError('the CSV has one column: it takes a key and a value')
  if (columns.value !== undefined || first.length === 2) {
    const value = columns.value === undefined ? 1 - key : indexOf(columns.value, names, first.length)
    return (row) => ({ type: 'put', key: row[key]!, value: row[value]! })
  }
  if (names === undefined)
    throw new UsageError('the CSV has no names for its columns: say which one is the value, --value-column 2')
  return (row) => {
    const fields = names.flatMap((name, i) => (i === key ? [] : [[name, row[i]!.toString('utf8')] as const]))
    return { type: 'put', key: row[key]!, value: Buffer.from(JSON.stringify(Object.fromEntries(fields))) }
  }
}

function indexOf(column: string, names: readonly string[] | undefined, count: number): number {
  const named = names?.indexOf(column) ?? -1
  if (named >= 0) return named
  const index = Number(column) - 1
  if (/^\d+$/.test(column) && index >= 0 && index < count) return index
  const known = names === undefined ? `1 to ${count}` : names.join(', ')
  throw new UsageError(`no column ${column}; there are ${known}`)
}

/** Some of the parser's messages end with the record, which may be megabytes of anything. */
function describeCsvError(error: CsvError): string {
  const message = error.message.replace(/, value is .*$/s, '').replaceAll('\n', ' ')
  return message.length <= 200 ? message : `${message.slice(0, 200)}…`
}
