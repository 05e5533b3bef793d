import type { Env } from '../env/env.js'
import { CIPHER_HEADER_BYTES, decryptorFor } from '../env/file-cipher.js'
import { ByteReader } from '../util/byte-reader.js'
import type { Bytes } from '../util/bytes.js'
import { decodeEdit, encodeEdit } from '../version/edit-format.js'
import type { VersionEdit } from '../version/version.js'
import type { BackupDirectory } from './backup-directory.js'
import { type BackupRecord, backupFileName } from './backup-format.js'

const NOTHING = Buffer.alloc(0)

/** The edit of backup `number`, as its file holds it: it tells key ranges and names of consumers. */
export function packEdit(env: Env, number: number, edit: VersionEdit): Bytes {
  const bytes = encodeEdit(edit)
  if (!env.vault) return bytes
  const piece = Buffer.alloc(CIPHER_HEADER_BYTES + bytes.length)
  env.vault.encryptor('backup', number).encrypt(bytes, 0, bytes.length, NOTHING, 0, piece, 0)
  return piece
}

/** @throws VarveError `VARVE_KEY`, `VARVE_CORRUPTION`. */
export function editOf(directory: BackupDirectory, record: BackupRecord): VersionEdit {
  const { edit, number, isEncrypted } = record
  const path = `${directory.path}/${backupFileName(number)}`
  const decryptor = decryptorFor(directory.env.vault, isEncrypted, 'backup', number, path)
  if (!decryptor) return decodeEdit(new ByteReader(edit, path))
  const plain = Buffer.alloc(Math.max(0, edit.length - CIPHER_HEADER_BYTES))
  for (const _ of decryptor.decrypt(edit, 0, edit.length, NOTHING, path, 0, plain, 0));
  return decodeEdit(new ByteReader(plain, path))
}
