import { corruption, ioError } from '../errors.js'
import type { Env, File } from './env.js'

/** Opens a file that what refers to it says is there. @throws VarveError `VARVE_CORRUPTION` where it is missing, `VARVE_IO`. */
export function openData(env: Env, path: string): File {
  try {
    return env.fs.open(path, 'read')
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT')
      throw corruption(path, 0, 'the file is missing', error)
    throw ioError(error, 'opening', path)
  }
}
