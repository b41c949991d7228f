# Rules of the R package `surveillance` on daily counts, asked by pipelines/benchmark_surveillance.py:
#   Rscript surveillance.R SERIES WANTED OUTPUT
# SERIES: series,count in day order. WANTED: id,rule,series,first,last (days counted from 1).
# OUTPUT: id,day,expected,dispersion,upper,score; a high score alarms.
suppressPackageStartupMessages(library(surveillance))
files <- commandArgs(trailingOnly = TRUE)
counts <- split(read.csv(files[1])$count, read.csv(files[1])$series)
wanted <- read.csv(files[2])

# Reference days: with `frequency` 7 the same weekday of `back` weeks, with 1 the `back` last days;
# the three newest days are left out, as by our guard. Quasi-Poisson without trend, past incidents
# down-weighted, upper quantile of a negative binomial (Noufaily et al. 2013).
farrington <- function(days, range, frequency, back) {
  result <- farringtonFlexible(
    sts(observed = matrix(days), frequency = frequency),
    control = list(
      range = range, b = back, w = 0, noPeriods = 1, trend = FALSE, reweight = TRUE,
      weightsThreshold = 2.58, pastWeeksNotIncluded = 3, thresholdMethod = "nbPlugin",
      alpha = 0.001, limit54 = c(0, 1), glmWarnings = FALSE
    )
  )
  found <- control(result)
  data.frame(
    day = range, expected = c(found$mu0Vector), dispersion = c(found$phiVector),
    upper = c(upperbound(result)), score = -log10(pmax(c(found$pvalue), 1e-300))
  )
}

# Generalised likelihood ratio of a negative binomial count with a weekly wave (Hoehle and Paul
# 2008) over up to four weeks, of eight weeks of days at a time; in control is all that was before.
ratio <- function(days, range) {
  part <- function(range) {
    begin <- min(range) - 28
    result <- glrnb(
      sts(observed = matrix(days[1:max(range)]), frequency = 7),
      control = list(
        range = begin:max(range), c.ARL = 1e9, mu0 = list(S = 1, trend = FALSE), M = 28,
        ret = "value", dir = "inc"
      )
    )
    value <- c(upperbound(result))[range - begin + 1]
    data.frame(day = range, expected = NA, dispersion = NA, upper = NA, score = value)
  }
  do.call(rbind, lapply(split(range, (range - min(range)) %/% 56), part))
}

rules <- list(
  weekday = function(days, range) farrington(days, range, 7, 12),
  flat = function(days, range) farrington(days, range, 1, 87),
  ratio = ratio
)
ask <- function(row) {
  range <- wanted$first[row]:wanted$last[row]
  days <- counts[[as.character(wanted$series[row])]]
  cbind(id = wanted$id[row], rules[[wanted$rule[row]]](days, range))
}
write.csv(do.call(rbind, lapply(seq_len(nrow(wanted)), ask)), files[3], row.names = FALSE)
