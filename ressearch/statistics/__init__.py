"""Statistics: numbers in, numbers out; what they mean in words stands in `ressearch.reporting.claims`.

`intervals` holds one network or two, `means` many at once (their variances, contrasts and simultaneous p-values),
`ordered` what depth does along a line of networks, `winner` the best of many, `axes` the effect of each axis of a
search, `power_law` how error falls with scale, `populations` distributions of error.
"""
