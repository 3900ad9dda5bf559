/* Style and script of the report's page: eval/report.css and eval/report.js, which CMake puts into
 * the program. Both end with a zero. */
#ifndef JEPA_EVAL_REPORT_ASSETS_H
#define JEPA_EVAL_REPORT_ASSETS_H

#include <stddef.h>

extern const char report_css[], report_js[];
extern const size_t report_css_bytes, report_js_bytes;

#endif
