import { type Codec, codecOf } from '../access/codec.js'
import type { Env } from '../env/env.js'
import { VarveError } from '../errors.js'
import { resolveOptions, type StoreOptions } from '../store/options.js'
import { checkOptionNames, type OptionNames } from '../util/option-names.js'
import type { ViewDefinition, ViewHooks } from './contract.js'

const NAME_BYTES_MAX = 48
const VERSION = /^[A-Za-z0-9._-]{1,32}$/
const MEMORY_DEFAULT = 64 * 2 ** 20
/** Merges of one view hold up the flushes of others no longer than that takes. */
const SEGMENT_BYTES = 8 * 2 ** 20

/** A definition, checked and completed. */
export interface Definition {
  readonly name: string
  readonly version: string
  readonly from: 'start' | 'snapshot' | undefined
  apply(change: unknown, state: unknown): void | Promise<void>
  readonly keys: Codec<unknown>
  readonly values: Codec<unknown>
  readonly encodings: readonly [string, string]
  readonly storeOptions: StoreOptions
  readonly keepsPrevious: boolean
  readonly previous: Definition | undefined
  readonly install: string | undefined
  readonly hooks: ViewHooks | undefined
  /** Answers as it is, and follows nothing: how to apply changes to it is not known, or the log is gone. */
  readonly isFrozen: boolean
}

export interface DefinitionDefaults {
  readonly env: Env
  readonly main: StoreOptions
}

const KNOWN: OptionNames<ViewDefinition> = {
  version: true,
  from: true,
  apply: true,
  keyEncoding: true,
  valueEncoding: true,
  memory: true,
  keepPrevious: true,
  previous: true,
  install: true,
  hooks: true,
}

/** @throws VarveError `VARVE_INVALID_ARGUMENT`. */
export function checkViewName(name: unknown): string {
  const isText = typeof name === 'string' && name !== '' && !/\p{Surrogate}/u.test(name)
  if (!isText || Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw invalid(`the name of a view is a string of 1 to ${NAME_BYTES_MAX} bytes`)
  }
  return name
}

/** @throws VarveError `VARVE_INVALID_ARGUMENT`. */
export function resolveDefinition(
  name: string,
  definition: ViewDefinition<never, never, never>,
  defaults: DefinitionDefaults,
): Definition {
  if (typeof definition !== 'object' || definition === null) throw invalid('a view has a definition')
  checkOptionNames('a view', definition, KNOWN)
  const {
    from,
    apply,
    keyEncoding,
    valueEncoding,
    memory = MEMORY_DEFAULT,
    keepPrevious,
    install,
  } = definition
  const { previous, hooks } = definition
  if (typeof apply !== 'function') throw invalid('a view has a function apply')
  if (from !== undefined && from !== 'start' && from !== 'snapshot') {
    throw invalid("from is 'start' or 'snapshot'")
  }
  if (keepPrevious !== undefined && typeof keepPrevious !== 'boolean') {
    throw invalid('keepPrevious is true or false')
  }
  if (install !== undefined && (typeof install !== 'string' || install === ''))
    throw invalid('install is a path')
  if (isView(keyEncoding) || isView(valueEncoding)) throw invalid("a view takes no encoding 'view'")
  const version = checkVersion(definition.version)
  const resolvedPrevious = previous && resolveDefinition(name, previous as never, defaults)
  if (resolvedPrevious?.version === version) throw invalid('the version before is another one')
  return {
    name,
    version,
    from,
    apply: (change, state) => apply.call(definition, change as never, state as never),
    keys: codecOf<unknown>('key', keyEncoding as string | undefined),
    values: codecOf<unknown>('value', valueEncoding as string | undefined),
    encodings: [nameOf(keyEncoding), nameOf(valueEncoding)],
    storeOptions: storeOptions(memory, defaults),
    keepsPrevious: keepPrevious ?? false,
    previous: resolvedPrevious,
    install,
    hooks,
    isFrozen: false,
  }
}

/** The definition of a version that is there, but that nobody defined; undefined if it cannot be read without. */
export function frozenDefinition(
  version: string,
  encodings: readonly [string, string],
  target: Definition,
): Definition | undefined {
  // What a helper wrote only the same helper reads.
  if (target.hooks) return undefined
  const keys = knownCodec('key', encodings[0], target.encodings[0], target.keys)
  const values = knownCodec('value', encodings[1], target.encodings[1], target.values)
  if (!keys || !values) return undefined
  return { ...target, version, keys, values, encodings, isFrozen: true, hooks: undefined }
}

function knownCodec(
  what: 'key' | 'value',
  name: string,
  targetName: string,
  target: Codec<unknown>,
): Codec<unknown> | undefined {
  if (name === targetName) return target
  return ['utf8', 'buffer', 'json', 'tuple'].includes(name) ? codecOf<unknown>(what, name) : undefined
}

function storeOptions(memory: number, { env, main }: DefinitionDefaults): StoreOptions {
  const { compaction, workers, l0SegmentsMax, levelRatio, blockBytes, isCompressed } = main
  const base = resolveOptions({ memory, env, checkEncodings: false })
  return {
    ...base,
    ...{ compaction, workers: Math.min(workers, 1), l0SegmentsMax, levelRatio, blockBytes, isCompressed },
    memtableBytes: Math.min(base.memtableBytes, main.memtableBytes),
    segmentBytes: Math.min(SEGMENT_BYTES, main.segmentBytes),
    // The main store's lock holds what is in its directory.
    takesLock: false,
  }
}

function checkVersion(version: unknown): string {
  if (typeof version === 'number' && Number.isSafeInteger(version) && version >= 0) return String(version)
  if (typeof version === 'string' && VERSION.test(version)) return version
  throw invalid('the version of a view is a whole number from 0, or 1 to 32 letters, digits and . _ -')
}

function nameOf(encoding: string | { readonly name: string } | undefined): string {
  return typeof encoding === 'object' ? String(encoding?.name) : (encoding ?? 'utf8')
}

function isView(encoding: unknown): boolean {
  return encoding === 'view'
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
