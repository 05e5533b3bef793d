import { VarveError } from '../errors.js'
import { asBuffer } from '../util/bytes.js'
import type { Codec } from './codec.js'

const DECIMAL = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i

/**
 * A counter is a number as its store's value encoding has it; where that knows no numbers, their decimal text, as
 * `JSON` writes it: under `'utf8'`, `'buffer'` and `'json'` the bytes are the same.
 */
export function addToCounter<V>(value: V | undefined, by: number, values: Codec<V>): V {
  const sum = (value === undefined ? 0 : numberOf(value)) + by
  return values.fromNumber ? values.fromNumber(checkSum(sum)) : (checkSum(sum) as V)
}

/** @throws VarveError `VARVE_INVALID_ARGUMENT` for a value that is no number. */
export function numberOf(value: unknown): number {
  const text = value instanceof Uint8Array ? asBuffer(value).toString('latin1') : value
  const number = typeof text === 'string' && DECIMAL.test(text) ? Number(text) : text
  if (typeof number === 'number' && Number.isFinite(number)) return number
  throw new VarveError('VARVE_INVALID_ARGUMENT', 'the value to count with is no number')
}

/** Beyond 2^53 adding one would be lost without a word. */
function checkSum(sum: number): number {
  const isExact = Number.isFinite(sum) && (!Number.isInteger(sum) || Number.isSafeInteger(sum))
  if (!isExact) throw new VarveError('VARVE_LIMIT', 'a counter is between -2^53 and 2^53, exclusive')
  return sum
}
