/**
 * The types that the modules share; there is no code here.
 *
 * @typedef {number | string | boolean | null | Array<any> | Object<string, any>} Cell A value of a config or summary.
 *
 * @typedef {Object} Run
 * @property {string} label
 * @property {string} path
 * @property {string} name
 * @property {string} state
 * @property {number} rows
 * @property {number | null} last_step
 * @property {boolean} complete
 * @property {string | null} reason
 * @property {Object<string, Cell>} config
 * @property {Object<string, Cell>} summary
 * @property {Object<string, Cell>} fields
 *
 * @typedef {Object} Metric
 * @property {string} name
 * @property {number[]} runs
 * @property {number[]} points
 * @property {number[]} buckets
 * @property {number[]} marks
 * @property {number[]} rows
 * @property {Array<number | string | null>} last
 * @property {Array<number | null>} min
 * @property {Array<number | null>} max
 * @property {number} value_width
 * @property {number} step_width
 *
 * @typedef {Object} Facts
 * @property {string} format
 * @property {string} version
 * @property {string} title
 * @property {string | null} group_by
 * @property {number} first_step
 * @property {Run[]} runs
 * @property {Array<{key: string, values: Object<string, Cell>}>} config_diff
 * @property {number} config_same
 * @property {{answer: string | null, metric: string | null, direction: string | null, sentences: string[], ranking: string[]}} verdict
 * @property {Array<{flag: string, runs: number, found: Array<{run: string, path: string, metric: string | null, step: number | null, message: string, metrics: number}>}>} health
 * @property {Array<{name: string, bundle_id: string, content_id: string}>} bundles
 * @property {string[]} notes
 * @property {Metric[]} metrics
 *
 * @typedef {Object} Curve One metric of one run.
 * @property {number} run The index of the run.
 * @property {Float64Array} steps
 * @property {Float64Array | Float32Array} values
 * @property {Uint32Array | null} counts How many values each bucket has; null where every value is a point.
 * @property {Float64Array | null} means The mean of each bucket.
 * @property {Float64Array} markSteps
 * @property {Uint8Array} markCodes 0 for NaN, 1 for infinity, 2 for minus infinity.
 *
 * @typedef {Object} Line A curve over the x axis that is shown, sorted by x.
 * @property {number} run
 * @property {ArrayLike<number>} xs
 * @property {ArrayLike<number>} ys
 * @property {ArrayLike<number>} markXs
 * @property {ArrayLike<number>} markCodes
 *
 * @typedef {Object} View What a person has chosen; it is in the fragment of the URL.
 * @property {string} x `step`, `time`, or the name of a metric.
 * @property {[number, number] | null} range The visible part of the x axis.
 * @property {boolean} logX
 * @property {string} y `auto`, `linear` or `log`.
 * @property {number} smooth The weight of the moving average, 0 for none.
 * @property {string} group The config key that colours the runs; empty for none.
 * @property {boolean} mean Whether a group is drawn as its mean and a band.
 * @property {string[]} hidden The labels of hidden runs.
 * @property {string} only The label of the isolated run; empty for none.
 * @property {string} filter The filter of the table.
 * @property {string} metrics The text that a shown metric contains.
 * @property {string} sort The column that sorts the table, with `-` before it for descending; empty for the ranking.
 * @property {string[] | null} columns The columns of the table; null for the usual ones.
 * @property {string[]} open The families of metrics that are unfolded.
 * @property {string} theme `auto`, `light` or `dark`.
 */

export const TYPES = "types";
