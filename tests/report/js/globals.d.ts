/** The charting library, which the page has as a script of its own. */
declare const uPlot: any;
