import { describe, expect, it } from 'vitest'
import {
  CURRENT_NAME,
  joinPath,
  LOCK_NAME,
  logFileName,
  manifestFileName,
  parseFileName,
  parseViewDirectoryName,
  removedViewName,
  segmentFileName,
  viewDirectoryName,
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

describe('names of the directories of views', () => {
  it.each([
    ['plain', '1', 1, 'plain@1-000001.view'],
    ['Städte/..', 'V2.0', 1_000_000, '%53t%c3%a4dte%2f%2e%2e@%562.0-1000000.view'],
    ['a@b-c', 'x_-', 12, 'a%40b%2dc@x_%2d-000012.view'],
  ])('hold the name %s and the version %s', (view, version, build, name) => {
    expect(viewDirectoryName(view, version, build)).toBe(name)
    expect(parseViewDirectoryName(name)).toEqual({ view, version, build, isRemoved: false })
    expect(parseViewDirectoryName(removedViewName(name))).toEqual({ view, version, build, isRemoved: true })
  })

  it.each([
    ...['', 'x.view', 'x@1.view', 'x@1-1.view', 'X@1-000001.view', 'x@1-0000001.view', '%61@1-000001.view'],
    ...['%ff@1-000001.view', 'x@1-000001.view.tmp.tmp', 'x@1-000001.view/y', 'x@1-99999999999999999999.view'],
  ])('are not %s', (name) => {
    expect(parseViewDirectoryName(name)).toBeUndefined()
  })
})
