import { CURRENT_NAME, joinPath, LOCK_NAME } from '../env/file-names.js'
import { nodeEnv } from '../env/node-env.js'
import { ioError } from '../errors.js'
import { listDirectory } from './directory.js'

/**
 * Removes the store in a directory: every file whose name is one of a store's. The directory stays, and what else is
 * in it. Nothing is removed while another process has it open; a directory that is not there is no error.
 * @throws VarveError `VARVE_LOCKED`, `VARVE_IO`.
 */
export async function destroyStore(path: string, env = nodeEnv): Promise<void> {
  const directory = env.fs.resolve(path)
  if (!env.fs.stat(directory)) return
  const lockPath = joinPath(directory, LOCK_NAME)
  const lock = env.fs.lock(lockPath)
  try {
    const { files, hasCurrent } = listDirectory(env, directory)
    // Without CURRENT what a crash leaves behind is no store any more.
    if (hasCurrent) env.fs.remove(joinPath(directory, CURRENT_NAME))
    env.fs.syncDirectory(directory)
    const rest = files.filter(({ kind }) => kind !== 'current' && kind !== 'lock')
    for (const { name } of rest) {
      env.fs.remove(joinPath(directory, name))
      // Where files are large the system takes milliseconds for one.
      await env.clock.sleep(0)
    }
    env.fs.remove(lockPath)
    env.fs.syncDirectory(directory)
  } catch (error) {
    throw ioError(error, 'removing', directory)
  } finally {
    lock.release()
  }
}
