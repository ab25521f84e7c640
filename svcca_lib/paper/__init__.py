"""The reproduction of Raghu et al. (2017), built on the measures of `svcca_lib`."""
