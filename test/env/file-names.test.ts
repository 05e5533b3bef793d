import { describe, expect, it } from 'vitest'
import {
  CURRENT_NAME,
  joinPath,
  LOCK_NAME,
  logFileName,
  manifestFileName,
  parseFileName,
  segmentFileName,
} from '../../src/env/file-names.js'

describe('file names', () => {
  it('reads back every name that it gives', () => {
    for (const number of [0, 1, 999_999, 1_000_000, Number.MAX_SAFE_INTEGER]) {
      expect(parseFileName(logFileName(number))).toEqual({ kind: 'log', number })
      expect(parseFileName(segmentFileName(number))).toEqual({ kind: 'segment', number })
      expect(parseFileName(manifestFileName(number))).toEqual({ kind: 'manifest', number })
      expect(parseFileName(`${segmentFileName(number)}.tmp`)).toEqual({ kind: 'temporary', number })
    }
    expect(parseFileName(CURRENT_NAME)).toEqual({ kind: 'current', number: 0 })
    expect(parseFileName(LOCK_NAME)).toEqual({ kind: 'lock', number: 0 })
    expect(parseFileName('CURRENT.tmp')).toEqual({ kind: 'temporary', number: 0 })
  })

  it('pads to six digits', () => {
    expect([logFileName(1), segmentFileName(12), manifestFileName(3)]).toEqual([
      '000001.log',
      '000012.seg',
      'MANIFEST-000003',
    ])
    expect(joinPath('/db', 'CURRENT')).toBe('/db/CURRENT')
  })

  it.each([
    '1.log',
    '00001.log',
    '0000001.log',
    '9007199254740992.log',
    '99999999999999999999999.seg',
    '000001.log ',
    '000001.LOG',
    '000001.log\n',
    'x000001.log',
    '000001.txt',
    '000001.tmp',
    'notes.tmp',
    'MANIFEST-1',
    'MANIFEST-000001.tmp',
    'current',
    'LOCK.tmp',
    '-00001.seg',
    '١٢٣٤٥٦.log',
    '',
  ])('leaves %j alone', (name) => {
    expect(parseFileName(name)).toBeUndefined()
  })
})
