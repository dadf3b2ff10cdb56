"""Huawei Ascend: kernels in Ascend C, in a project for the vendor's tools."""
