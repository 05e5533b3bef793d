import type MiniSearch from 'minisearch'
import { VarveError } from '../errors.js'
import type { Change } from '../feed/change.js'
import { checkOptionNames, type OptionNames } from '../util/option-names.js'
import type { ViewDefinition, ViewMemory, ViewReadOptions } from './contract.js'
import type { BytesState } from './derived-entries.js'
import { ViewAccess } from './reads.js'
import type { Versions } from './versions.js'

/** Documents of one group of changes: indexing one takes a tenth of a millisecond or so. */
const GROUP_OPS_MAX = 32

/** A document: its fields as plain text, numbers or lists of them. */
export type TextDocument = Readonly<Record<string, unknown>>

/** What is searched for in the entries. */
export interface FullTextOptions<K, V> {
  /** As in `ViewDefinition`: another one builds the index anew. */
  readonly version: number | string
  /** Names of the fields of a document that are searched. */
  readonly fields: readonly string[]
  /** Names of the fields that a hit carries. */
  readonly storeFields?: readonly string[] | undefined
  /** The document of an entry; undefined: there is none. Default: the value, if it is an object. */
  document?(entryKey: K, value: V): TextDocument | undefined
  /** How terms are made and weighed: MiniSearch's own options, but for the fields above and the ids. */
  readonly search?: Readonly<Record<string, unknown>> | undefined
  /** As in `ViewDefinition`. */
  readonly from?: 'start' | 'snapshot' | undefined
  /** As in `ViewDefinition`. */
  readonly memory?: number | undefined
  /** As in `ViewDefinition`. */
  readonly keepPrevious?: boolean | undefined
}

/** One entry that matches. */
export interface TextHit<K> {
  /** Of the entry. */
  readonly key: K
  /** How well it matches: higher is better. */
  readonly score: number
  /** The words of the document that matched. */
  readonly terms: readonly string[]
  /** What `storeFields` names. */
  readonly fields: TextDocument
}

const OPTION_NAMES: OptionNames<FullTextOptions<unknown, unknown>> = {
  version: true,
  fields: true,
  storeFields: true,
  document: true,
  search: true,
  from: true,
  memory: true,
  keepPrevious: true,
}

/** How `search` goes about it. */
export interface TextSearchOptions extends ViewReadOptions {
  /** At most so many, the best ones; default: all. */
  readonly limit?: number | undefined
  /** Passed to MiniSearch: `prefix`, `fuzzy`, `boost`, `combineWith`, `fields` ... */
  readonly search?: Readonly<Record<string, unknown>> | undefined
}

const SEARCH_NAMES: OptionNames<TextSearchOptions> = {
  limit: true,
  search: true,
  atLeast: true,
  timeoutMs: true,
  signal: true,
}

/** What a full-text index adds to its view. */
export interface FullTextReads<K> {
  /** The entries that match, best first, of exactly the position that the view is at. */
  search(query: string, options?: TextSearchOptions): Promise<TextHit<K>[]>
}

type TextState<K> = BytesState<K> & { readonly reads?: FullTextReads<K> }

/**
 * A full-text index by MiniSearch (`npm install minisearch`). The documents are kept in the view's store; the index
 * over them is in memory, made from them when the view is opened, in slices, and changed with every commit, so that
 * a search and the view's position always agree. Meant for as many documents as fit in memory, at some kilobytes
 * each; opening takes about as long as indexing them. A change with very many documents holds up the event loop.
 *
 * @throws VarveError `VARVE_INVALID_ARGUMENT`, also if `minisearch` is not installed.
 */
export async function fullText<K = string, V = string>(
  options: FullTextOptions<K, V>,
): Promise<ViewDefinition<K, V, TextState<K>>> {
  checkOptionNames('fullText', options, OPTION_NAMES)
  const { version, fields, storeFields = [], search = {}, from, memory, keepPrevious } = options
  const isNames = (names: unknown) =>
    Array.isArray(names) && names.every((name) => typeof name === 'string' && name !== ID_FIELD)
  if (!isNames(fields) || fields.length === 0 || !isNames(storeFields)) {
    throw invalid(`fields are a list of names other than ${ID_FIELD}`)
  }
  const Index = await loadMiniSearch()
  const documentOf = options.document?.bind(options) ?? ((_: K, value: V) => asDocument(value))
  const kept = [...new Set([...fields, ...storeFields])]
  const makeIndex = () =>
    new Index<TextDocument>({
      ...search,
      ...{ fields: [...fields], storeFields: [...storeFields], idField: ID_FIELD },
      // A timer of its own would go on after the view has closed.
      autoVacuum: false,
    })
  return {
    ...{ version, from, memory, keepPrevious },
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
    apply: (change, state) => apply(change, state, documentOf, kept),
    hooks: {
      groupOpsMax: GROUP_OPS_MAX,
      memory: () => new TextMemory(makeIndex),
      reads: (versions: never) => textReads<K>(versions, storeFields),
    },
  }
}

const ID_FIELD = '$id'

function apply<K, V>(
  { ops }: Change<K, V>,
  state: BytesState<K>,
  documentOf: (key: K, value: V) => TextDocument | undefined,
  kept: readonly string[],
): void | Promise<void> {
  for (const [i, op] of ops.entries()) {
    if (op.type === 'clear') return applyClears(ops.slice(i), state, documentOf, kept)
    applyOp(op, state, documentOf, kept)
  }
}

async function applyClears<K, V>(
  ops: Change<K, V>['ops'],
  state: BytesState<K>,
  documentOf: (key: K, value: V) => TextDocument | undefined,
  kept: readonly string[],
): Promise<void> {
  for (const op of ops) {
    if (op.type !== 'clear') {
      applyOp(op, state, documentOf, kept)
      continue
    }
    // One by one: each has to leave the index in memory too.
    const range = op.end ? { gte: op.start, lt: op.end } : { gte: op.start }
    for await (const key of state.keys(range)) state.del(key)
  }
}

function applyOp<K, V>(
  op: Exclude<Change<K, V>['ops'][number], { type: 'clear' }>,
  state: BytesState<K>,
  documentOf: (key: K, value: V) => TextDocument | undefined,
  kept: readonly string[],
): void {
  const key = state.encodeKey(op.key)
  const document = op.type === 'put' ? documentOf(op.key, op.value) : undefined
  if (document === undefined) state.del(key)
  else {
    const picked = Object.fromEntries(kept.map((name) => [name, document[name]]))
    state.put(key, Buffer.from(JSON.stringify(picked)))
  }
}

/** The index in memory. Ids are keys as latin-1: each byte one character. */
class TextMemory implements ViewMemory {
  readonly index: MiniSearch<TextDocument>

  constructor(makeIndex: () => MiniSearch<TextDocument>) {
    this.index = makeIndex()
  }

  put(key: Buffer, value: Buffer): void {
    const id = key.toString('latin1')
    const document = JSON.parse(value.toString()) as TextDocument
    if (this.index.has(id)) this.index.discard(id)
    this.index.add({ ...document, [ID_FIELD]: id })
    this.#vacuum()
  }

  del(key: Buffer): void {
    const id = key.toString('latin1')
    if (this.index.has(id)) this.index.discard(id)
    this.#vacuum()
  }

  /** What was discarded takes memory until then. */
  #vacuum(): void {
    const { index } = this
    if (index.isVacuuming || index.dirtCount < VACUUM_MIN || index.dirtFactor < VACUUM_FACTOR) return
    index.vacuum({ batchSize: VACUUM_TERMS, batchWait: 1 }).catch(() => {})
  }
}

const VACUUM_MIN = 1000
const VACUUM_FACTOR = 0.2
/** Terms that are looked at in one step. */
const VACUUM_TERMS = 200

function textReads<K>(versions: Versions, storeFields: readonly string[]): FullTextReads<K> {
  const access = new ViewAccess<K>(versions)
  const search = async (query: string, options: TextSearchOptions = {}): Promise<TextHit<K>[]> => {
    if (typeof query !== 'string') throw invalid('what is searched for is a string')
    checkOptionNames('search', options, SEARCH_NAMES)
    const { limit = Number.POSITIVE_INFINITY } = options
    const { memory } = await access.reached(options)
    if (!(memory instanceof TextMemory)) throw invalid('this version of the view is no full-text index')
    const hits = memory.index.search(query, options.search)
    return hits.slice(0, limit).map((hit) => {
      const bytes = Buffer.from(hit.id as string, 'latin1')
      return {
        key: access.decodeMainKey(bytes, 0, bytes.length),
        score: hit.score,
        terms: hit.terms,
        fields: Object.fromEntries(storeFields.map((name) => [name, hit[name] as unknown])),
      }
    })
  }
  return { search }
}

async function loadMiniSearch(): Promise<typeof MiniSearch> {
  try {
    return (await import('minisearch')).default
  } catch (cause) {
    throw new VarveError('VARVE_INVALID_ARGUMENT', 'a full-text index needs the package minisearch', {
      cause,
    })
  }
}

function asDocument(value: unknown): TextDocument | undefined {
  return typeof value === 'object' && value !== null ? (value as TextDocument) : undefined
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
