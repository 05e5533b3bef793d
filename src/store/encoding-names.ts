import { VarveError } from '../errors.js'
import type { Version } from '../version/version.js'
import type { OpenOptions } from './contract.js'

/** By which names the encodings of keys and values are known; empty: by none. */
export interface EncodingNames {
  readonly keyEncoding: string
  readonly valueEncoding: string
}

const NAME_LENGTH_MAX = 255

export function encodingNames<K, V>(
  options: Pick<OpenOptions<K, V>, 'keyEncoding' | 'valueEncoding'>,
): EncodingNames {
  return { keyEncoding: nameOf(options.keyEncoding), valueEncoding: nameOf(options.valueEncoding) }
}

/** @throws VarveError `VARVE_INVALID_ARGUMENT` where what was written would be misread. */
export function checkEncodings(directory: string, version: Version, names: EncodingNames): void {
  for (const which of ['keyEncoding', 'valueEncoding'] as const) {
    const [made, asked] = [version[which], names[which]]
    // Bytes as they are cannot be misread.
    if (made === '' || asked === made || asked === 'buffer') continue
    const message =
      `${directory} was made with ${which} '${made}', not '${asked || 'a nameless one'}': open it with that one; ` +
      `'buffer' shows its bytes as they are, and withEncodings() reads them in other ways`
    throw new VarveError('VARVE_INVALID_ARGUMENT', message)
  }
}

function nameOf(encoding: unknown = 'utf8'): string {
  const name = typeof encoding === 'object' ? (encoding as { name?: unknown } | null)?.name : encoding
  if (typeof name !== 'string' || name.length > NAME_LENGTH_MAX || /\p{Surrogate}/u.test(name)) return ''
  // One says how bytes are handed out, not what they mean.
  return name === 'view' ? 'buffer' : name
}
