import { VarveError } from '../errors.js'

/** Every name that an options type has: the compiler refuses a table that leaves one out, or has one more. */
export type OptionNames<T> = { readonly [Name in keyof Required<T>]: true }

/** Known names that more letters than this are changed from are no likely misspelling. */
const DISTANCE_MAX = 3
/** Longer names are not compared: nobody meant one of ours. */
const COMPARED_MAX = 64

/** What other stores call it, and how it is said here. No letters tell these. */
const CALLED_ELSEWHERE: ReadonlyMap<string, string> = new Map([
  ['expireIn', 'ttlMs'],
  ['ttl', 'ttlMs'],
  ['sync', "durability: 'disk'"],
  ['ifVersion', 'ifPosition'],
  ['version', 'position'],
  ['versionstamp', 'position'],
  ['start', 'gte'],
  ['end', 'lt'],
  ['since', 'after'],
  ['from', 'after'],
  ['fromBeginning', "from: 'start'"],
  ['cacheSize', 'memory'],
  ['mapSize', 'memory'],
])

/**
 * What is misspelt would else be passed over without a word.
 * @param what whose options they are, as a message calls it.
 * @throws VarveError `VARVE_INVALID_ARGUMENT` for a name that is not known, naming the nearest one, and for what is
 * no object: a callback would never be called.
 */
export function checkOptionNames(
  what: string,
  options: object | null | undefined,
  known: { readonly [name: string]: true },
): void {
  if (options !== undefined && options !== null && typeof options !== 'object')
    throw new VarveError(
      'VARVE_INVALID_ARGUMENT',
      `the options of ${what} are an object, not ${typeof options}`,
    )
  for (const name in options) if (known[name] !== true) throw unknownOption(what, name, Object.keys(known))
}

/** The error for one name that is not known. */
export function unknownOption(what: string, name: string, known: readonly string[]): VarveError {
  const elsewhere = CALLED_ELSEWHERE.get(name)
  const isOurs = elsewhere !== undefined && known.includes(elsewhere.split(':', 1)[0]!)
  const nearest = isOurs ? elsewhere : nearestName(name, known)
  const hint =
    nearest !== undefined
      ? `did you mean ${nearest}?`
      : known.length === 0
        ? 'it takes none'
        : `it takes ${known.join(', ')}`
  return new VarveError('VARVE_INVALID_ARGUMENT', `${what} has no option ${name.slice(0, 80)}: ${hint}`)
}

/** The known name that `name` was probably meant to be; undefined: none is near. */
export function nearestName(name: string, known: readonly string[]): string | undefined {
  if (name.length > COMPARED_MAX) return undefined
  let nearest: string | undefined
  let least = Math.min(DISTANCE_MAX, Math.floor(name.length / 2)) + 1
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase())
    if (distance >= least) continue
    least = distance
    nearest = candidate
  }
  return nearest
}

/** Letters to add, leave out, change, or swap with the next one. */
function editDistance(a: string, b: string): number {
  let before: number[] = []
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1]
      let least = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (isSame ? 0 : 1))
      const isSwapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      if (isSwapped) least = Math.min(least, before[j - 2]! + 1)
      next.push(least)
    }
    before = row
    row = next
  }
  return row[b.length]!
}
