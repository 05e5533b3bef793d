import { createHash, timingSafeEqual } from 'node:crypto'
import { VarveError } from '../errors.js'

/** A check of `Authorization` headers whose time says nothing about the token. */
export function bearerCheck(token: string): (header: string | undefined) => boolean {
  const expected = digest(`Bearer ${token}`)
  return (header) => timingSafeEqual(digest(header ?? ''), expected)
}

/** @throws VarveError `VARVE_INVALID_ARGUMENT`, without the token. */
export function checkToken(token: unknown): void {
  if (token === undefined) return
  const isText = typeof token === 'string' && /^[\x21-\x7e]{1,4096}$/.test(token)
  if (!isText)
    throw new VarveError('VARVE_INVALID_ARGUMENT', 'a token is a string of visible ASCII characters')
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
