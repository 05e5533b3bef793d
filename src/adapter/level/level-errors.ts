import { VarveError } from '../../errors.js'

/** The codes that programs written for classic-level look for in the cause of a failed `open`. */
const LEVEL_CODES: { readonly [code: string]: string } = {
  VARVE_LOCKED: 'LEVEL_LOCKED',
  VARVE_CORRUPTION: 'LEVEL_CORRUPTION',
  VARVE_IO: 'LEVEL_IO_ERROR',
  VARVE_NO_SPACE: 'LEVEL_IO_ERROR',
}

/** The cause as classic-level would name it, with Varve's own error as its cause. */
export function openCause(error: unknown): unknown {
  const code = error instanceof VarveError ? LEVEL_CODES[error.code] : undefined
  if (code === undefined) return error
  return Object.assign(new Error((error as VarveError).message, { cause: error }), { code })
}
