from poolio.buffer cimport Buffer
from poolio.pool cimport Pool, default_pool
